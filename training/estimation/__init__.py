"""From whole videos and photographs to poses: the person is found, cropped, estimated, fused, placed and drawn."""
