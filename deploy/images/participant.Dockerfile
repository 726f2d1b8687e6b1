# One hospital. Build from the checkout's root:
#   docker build -f deploy/images/participant.Dockerfile --build-arg PYTHON_DIGEST=sha256:… -t consilium-participant .
# The digest is the release's own pin; without it the build stops.
ARG PYTHON_DIGEST
FROM python:3.11.13-slim-bookworm@${PYTHON_DIGEST} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
# Where pip finds further builds, such as the one of torch for processors only.
ARG PIP_EXTRA_INDEX_URL
WORKDIR /build
RUN ["python", "-m", "venv", "/opt/consilium"]
COPY requirements.lock ./
RUN ["/opt/consilium/bin/python", "-m", "pip", "install", "--requirement", "requirements.lock"]
COPY pyproject.toml README.md LICENSE consilium_*.py ./
COPY analytics analytics
COPY crypto crypto
COPY protos protos
COPY consent_contracts consent_contracts
COPY participants participants
COPY coordinator coordinator
COPY deploy deploy
RUN ["/opt/consilium/bin/python", "-m", "pip", "install", "--no-deps", "--no-build-isolation", "."]

FROM python:3.11.13-slim-bookworm@${PYTHON_DIGEST}
LABEL org.opencontainers.image.title="consilium-participant" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/consilium /opt/consilium
ENV PATH=/opt/consilium/bin:$PATH \
    CONSILIUM_CACHE=/var/cache/consilium \
    OPENBLAS_NUM_THREADS=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# Numbers, so that a kit's owner on the host can be the same: chown -R 10001:10001 kit.
USER 10001:10001
WORKDIR /var/lib/consilium
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["consilium", "participant", "health", "--kit", "/kit"]
ENTRYPOINT ["consilium", "participant"]
CMD ["serve", "--kit", "/kit"]
