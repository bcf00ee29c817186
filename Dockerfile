# The images of the edge and of its gate. The edge's: one static program, its configuration, and empty directories that it may write to.
#
#   docker build -t edge:dev .                            where Docker can fetch the Go image
#   docker build -t edge-gate:dev --target gate .
#   deploy/image                      where it can't: builds with the Go of the host and takes the last two stages from here,
#                                     so those use nothing but COPY --from=build from /out/

FROM golang:1.26-bookworm AS build
WORKDIR /src

# Modules change less often than code: a layer of their own.
COPY go.mod go.sum ./
RUN go mod download
# restic, which `edge backup` copies from the image to machines that have none.
COPY tools/restic/ tools/restic/
RUN CGO_ENABLED=0 go build -C tools/restic -trimpath -ldflags="-s -w" -o /out/system/usr/bin/restic github.com/restic/restic/cmd/restic

COPY . .
# What `edge version` prints: the repository is not here.
ARG VERSION
# The tag nodemo leaves out `edge demo` with its backends.
# A file system in memory that is mounted at /run/edge takes on its mode: the admin socket is for its user alone.
RUN CGO_ENABLED=0 go build -trimpath -tags nodemo -ldflags="-s -w -X github.com/theworklabs/edge/cmd.release=$VERSION" -o /out/system/usr/bin/edge ./cmd/edge \
 && CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /out/system/usr/bin/edge-health ./cmd/edge-health \
 && install -D -m 0644 Caddyfile /out/system/etc/edge/Caddyfile \
 && mkdir -p /out/user/data /out/user/config /out/user/run/edge /out/user/run/gate \
 && chmod 0700 /out/user/run/edge /out/user/run/gate
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags="-s -w" -o /out/gate/usr/bin/edge-gate ./cmd/edge-gate \
 && mkdir -p /out/gate-user/run/gate \
 && chmod 0700 /out/gate-user/run/gate

# The gate keeps the ports open while the edge is replaced. It changes only with its own code, so that an update of the edge does not
# replace it.
FROM scratch AS gate
COPY --from=build --chown=0:0 /out/gate/ /
# The directory of its socket: a new named volume takes over its owner and its mode, which lets nobody else in.
COPY --from=build --chown=1000:1000 /out/gate-user/ /
USER 1000:1000
EXPOSE 80 443 443/udp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["/usr/bin/edge-gate", "--health"]
ENTRYPOINT ["/usr/bin/edge-gate"]

# No shell, no libraries, no package manager: nothing to keep up to date but the program. The certificate authorities
# that it trusts are compiled in.
FROM scratch
# The program and its configuration are root's, so that the edge can't change them.
COPY --from=build --chown=0:0 /out/system/ /
COPY --from=build --chown=1000:1000 /out/user/ /
# Certificates go to /data, which a volume should be mounted on; a new named volume takes over its owner.
ENV PATH=/usr/bin HOME=/ XDG_DATA_HOME=/data XDG_CONFIG_HOME=/config
USER 1000:1000
# Relative imports of the Caddyfile are the same at the start and in `edge reload --config -`.
WORKDIR /etc/edge
EXPOSE 80 443 443/udp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["edge-health"]
ENTRYPOINT ["edge"]
# /etc/edge/Caddyfile, or one in the place of the official image of Caddy, /etc/caddy/Caddyfile.
CMD ["serve"]
