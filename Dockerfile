# The project on a CPU: docker build -t geometry-aware-pose . && docker run --rm geometry-aware-pose validate examples/sample_set
# The viewer needs a screen; in a container, save pictures: docker run --rm -v "$PWD/out:/out" geometry-aware-pose
# view --save /out/turn.gif
FROM python:3.12-slim
WORKDIR /work
# The wheels of PyTorch for CPUs are a tenth of those for GPUs.
RUN pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu
COPY . .
RUN pip install --no-cache-dir -e ".[render,video]"
ENTRYPOINT ["geometry-aware-pose"]
CMD ["--help"]
