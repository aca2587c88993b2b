# syntax=docker/dockerfile:1
# An image of fnbridge: the binary, the libraries it is linked with, and certificates; no shell, no root. docs/deploy.md says how it is made.
# No test builds it, as those run where there is no container engine. terraform/test holds the libraries of the binary against this image's, and runs it as pods do.

FROM rust:1.88-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends build-essential libssl-dev perl pkg-config \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /fnbridge
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/fnbridge/target \
    cargo build --release --locked --bin fnbridge \
 && install target/release/fnbridge /usr/local/bin/fnbridge \
 && strip --strip-debug /usr/local/bin/fnbridge

# Debian's libssl and libc, as they were linked against, and the user nonroot, 65532.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /usr/local/bin/fnbridge /usr/local/bin/fnbridge
COPY LICENSE /usr/share/doc/fnbridge/LICENSE
WORKDIR /etc/fnbridge
USER 65532:65532
EXPOSE 8470
# A worker drains on SIGTERM. Whatever stops it gives it longer than its pipelines' longest drain_timeout.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/fnbridge"]
CMD ["serve", "--config", "/etc/fnbridge/fnbridge.yaml"]
