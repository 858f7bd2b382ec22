# syntax=docker/dockerfile:1
FROM rust:1.95-bookworm AS build
WORKDIR /src
# Dependencies first: they change seldom, and this layer is kept.
COPY Cargo.toml Cargo.lock build.rs ./
COPY .cargo .cargo
COPY loadtest/Cargo.toml loadtest/Cargo.toml
RUN mkdir -p src loadtest/src static migrations/sqlite migrations/postgres tests/it \
    && echo '//! empty' | tee src/lib.rs loadtest/src/lib.rs tests/it/main.rs >/dev/null \
    && echo 'fn main() {}' | tee src/main.rs loadtest/src/main.rs >/dev/null \
    && cargo build --release --locked -p hearth
COPY src src
COPY static static
COPY migrations migrations
COPY PROTOCOL.md ./
RUN touch src/lib.rs src/main.rs && cargo build --release --locked -p hearth

FROM debian:bookworm-slim
# Webhooks over https need to know whom to trust.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin hearth \
    && install -d -o hearth -g hearth -m 0700 /data
COPY --from=build /src/target/release/hearth /usr/local/bin/hearth
USER hearth
VOLUME /data
EXPOSE 8080
ENTRYPOINT ["hearth"]
CMD ["serve", "--listen", "0.0.0.0:8080", "--data-dir", "/data"]
