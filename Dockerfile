# One image for every role: the command says which (serve, worker, migrate, ...). There are no servers, no compiler and no
# test tools in it. It runs as a user without rights, and writes to its log directory and /tmp alone: the root may be read-only.
#
# BASE: any image with Python >= 3.11 and its module venv. By digest, so that what is built today is what was built yesterday.
ARG BASE=docker.io/library/python:3.13.13-slim-bookworm@sha256:355bfa66770995d7e9a0da4b3473b44d0cb451f6b56f5615ad9c39e3c4eca03f

FROM ${BASE} AS build
WORKDIR /src
COPY deploy/image/build.lock deploy/image/run.lock ./
# Libraries have a layer of their own, which changes when they do.
RUN python3 -m venv /build \
    && /build/bin/python -m pip install --quiet --no-cache-dir --no-deps --only-binary :all: --require-hashes -r build.lock \
    && python3 -m venv --without-pip /opt/workflow-engine \
    && /build/bin/python -m pip --python /opt/workflow-engine/bin/python install \
        --quiet --no-cache-dir --no-deps --only-binary :all: --require-hashes -r run.lock
COPY pyproject.toml README.md ./
COPY src src
COPY sql sql
COPY deploy/runbooks deploy/runbooks
RUN /build/bin/python -m hatchling build -t wheel -d /wheel \
    && /build/bin/python -m pip --python /opt/workflow-engine/bin/python install --quiet --no-cache-dir --no-deps /wheel/*.whl

FROM ${BASE}
LABEL org.opencontainers.image.title="workflow-engine" \
      org.opencontainers.image.description="A durable workflow engine on Postgres" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 workflow && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin workflow \
    && install -d -o 10001 -g 10001 /var/log/workflow-engine
COPY --from=build /opt/workflow-engine /opt/workflow-engine
ENV PATH=/opt/workflow-engine/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 3003 9464
ENTRYPOINT ["workflow-engine"]
CMD ["serve"]
# Asks whoever listens in this container: an engine on 3003, or a worker on 9464. Kubernetes has probes of its own.
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s CMD ["workflow-engine", "alive"]
