"""The files of a set: labels.h5, PNG crops, packed crops; writing them, resumably."""
