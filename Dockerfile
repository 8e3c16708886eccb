# syntax=docker/dockerfile:1
# The worker. Build:  docker build -t livekit-agent-runtime .
# Bundles are mounted at /bundles, the only writable folder is /data; the root may be read-only.
# Not built yet: no Docker daemon was at hand. tests/test_image.py runs its steps without one: the uv commands,
# by this version of uv, and the worker as the image has it (environment, user, read-only root, health check,
# stop signal). What it cannot run is said there. hadolint lints the file (tests/test_deploy.py).

FROM python:3.11-slim-bookworm AS build
COPY --from=ghcr.io/astral-sh/uv:0.9.7 /uv /usr/local/bin/uv
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/opt/agent
WORKDIR /src
# dependencies first: they change seldom, and the layer is kept while they do not
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --locked --no-default-groups --extra offline --no-install-project
COPY agent ./agent
COPY config_store ./config_store
RUN uv sync --locked --no-default-groups --extra offline --no-editable

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /data agent \
    && install --directory --owner=agent --mode=0700 /data
COPY --from=build /opt/agent /opt/agent
COPY bundles /bundles
ENV PATH=/opt/agent/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TMPDIR=/data \
    AGENT_BUNDLES=/bundles \
    AGENT_DATA=/data \
    AGENT_LOG_FORMAT=json
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8081
# liveness: a draining worker is not ready and must not be killed for it; never through a proxy, whose address
# Docker's client puts into each container (HTTP_PROXY) where one is configured
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + os.environ.get('AGENT_HTTP_PORT', '8081') + '/livez', timeout=2)"]
# SIGTERM drains; give it AGENT_DRAIN_SECONDS + 35 s (`docker stop --time 100`)
STOPSIGNAL SIGTERM
ENTRYPOINT ["agent"]
CMD ["start"]
