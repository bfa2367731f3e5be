# syntax=docker/dockerfile:1
# A static binary on an empty image: no shell, no libraries, no package to patch.
# You must give the digest of the builder image. To look it up and build:
#   docker buildx imagetools inspect rust:1.95-alpine
#   docker build --build-arg RUST_DIGEST=sha256:... -t tenantry:0.1.0 .
ARG RUST_DIGEST=missing-give-build-arg-RUST_DIGEST
FROM rust:1.95-alpine@${RUST_DIGEST} AS build
# ring compiles C; jemalloc needs make.
RUN apk add --no-cache gcc make musl-dev
WORKDIR /src
# Cargo features, for example "otlp".
ARG FEATURES=""
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --package tenantry --features "${FEATURES}" \
    && cp target/release/tenantry /tenantry

FROM scratch
LABEL org.opencontainers.image.title="tenantry" org.opencontainers.image.licenses="MIT"
COPY --from=build /tenantry /tenantry
COPY LICENSE /LICENSE
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/tenantry"]
CMD ["run"]
