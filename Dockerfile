# syntax=docker/dockerfile:1

# Alpine's own target is musl, so the binary is static without further flags.
ARG RUST_VERSION=1.95
FROM rust:${RUST_VERSION}-alpine AS build
RUN apk add --no-cache ca-certificates musl-dev
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin leasehold \
    && cp target/release/leasehold /leasehold

# The binary and the CA roots, nothing else: no shell, no libc, no package manager.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /leasehold /leasehold
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
# A number, so that Kubernetes' runAsNonRoot can see that it is not root.
USER 65532:65532
# No EXPOSE: it listens on loopback, for containers that share its network (a pod, `--network container:…`).
ENTRYPOINT ["/leasehold"]
CMD ["run", "--config", "/etc/leasehold/leasehold.toml"]
