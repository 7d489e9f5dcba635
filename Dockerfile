# A study in a container: the watchdog first, then `swarm up` in a clone of your repository. See docs/how-to/docker.md.
#
#   docker build -t swarm .
#   docker run --gpus all -v swarm:/workspace swarm python3 -m swarm.pods.entry --repository URL --hours 8
FROM nvidia/cuda:13.0.1-runtime-ubuntu24.04

SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# gcc and Python's headers: Triton compiles the launchers of its kernels. tini: a container's first process must reap.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        ca-certificates gcc git libc6-dev make openssh-client openssh-server python3 python3-dev python3-venv tini \
    && rm -rf /var/lib/apt/lists/*

# Our own code is bound and not copied: the image has it once, as installed. A study runs the code of its clone.
RUN --mount=type=bind,target=/src \
    python3 -m venv /opt/venv \
    && /opt/venv/bin/python -m pip install --no-cache-dir -c /src/constraints.txt "/src[train,models,cost]"

RUN useradd --create-home --uid 10001 swarm \
    && mkdir -p /workspace \
    && chown swarm:swarm /workspace

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SWARM_CACHE=/workspace/cache \
    SWARM_POD_CONTAINER=1 \
    SWARM_POD_HOME=/workspace/swarm \
    SWARM_POD_SSH_PORT=2222

USER 10001:10001
WORKDIR /workspace

HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python3", "-m", "swarm.pods.inside.health"]

ENTRYPOINT ["tini", "-g", "--"]
CMD ["python3", "-m", "swarm.pods.entry"]
