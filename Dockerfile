# The broker as one static file in an empty image. The image is for the architecture of the building machine. For several
# architectures, use `docker buildx build --platform linux/amd64,linux/arm64`.
#
# This file uses only what buildah 1.28 understands (no heredoc, no COPY --link, no HEALTHCHECK --start-interval), because
# scripts/image.sh builds each stage where no Docker engine runs.

FROM rust:1.95-slim-trixie AS build

# Empty means musl for this architecture. `x86_64-unknown-linux-gnu` needs no further target and is static, too, by crt-static.
ARG RUST_TARGET=""
ARG PROFILE=dist

SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# hadolint ignore=DL3008
RUN dpkg -s musl-tools ca-certificates >/dev/null 2>&1 || { \
        apt-get update \
        && apt-get install -y --no-install-recommends ca-certificates musl-tools \
        && rm -rf /var/lib/apt/lists/*; }

WORKDIR /src
COPY . .

# musl-gcc compiles the C parts (aws-lc, mimalloc) for musl. Other targets ignore these variables.
ENV CC_x86_64_unknown_linux_musl=musl-gcc \
    CC_aarch64_unknown_linux_musl=musl-gcc \
    RUSTFLAGS="-C target-feature=+crt-static"

# The simulator's WebRTC peers (the feature `peer`) stay out of the image. The cache mounts exist in this step only, so the step
# copies the binary out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    target="${RUST_TARGET:-$(uname -m)-unknown-linux-musl}" \
    && { rustup target list --installed | grep -x "$target" >/dev/null || rustup target add "$target"; } \
    && cargo build --profile "$PROFILE" --locked --no-default-features --bin token-broker --target "$target" \
    && mkdir -p /data /out/etc/ssl/certs \
    && cp "target/$target/$PROFILE/token-broker" /out/token-broker \
    && cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ca-certificates.crt \
    && echo 'broker:x:65532:65532:token-broker:/:/token-broker' > /out/etc/passwd \
    && echo 'broker:x:65532:' > /out/etc/group \
    && chmod -R u=rwX,go=rX /out

FROM scratch

ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="realtime-token-broker" \
      org.opencontainers.image.description="Mints short-lived OpenAI Realtime client secrets for browsers, so that the API key never leaves the server" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.vendor="The realtime-token-broker contributors" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# Mozilla's roots are compiled in; the bundle is for what reads the usual place. A private root: upstream.ca_file.
COPY --from=build /out/ /
# The default place of the ledger, sqlite://broker.db. It is a volume, so that the ledger outlives the container and the root can
# be read-only. Give the volume a name to find it again.
COPY --from=build --chown=65532:65532 /data /data
VOLUME /data
WORKDIR /data

# A number, because runAsNonRoot of Kubernetes does not accept a name.
USER 65532:65532
ENV BROKER_SERVER__LISTEN=0.0.0.0
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/token-broker", "healthcheck"]
ENTRYPOINT ["/token-broker"]
CMD ["serve"]
