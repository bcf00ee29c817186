# One of the roles of tests/backends/app. The binary is an ENTRYPOINT: the compose file's command is meant for the real
# application, and as arguments the binary ignores it.
FROM edge-test/base:test

ARG ROLE
ARG PORT
ENV ROLE=$ROLE PORT=$PORT
EXPOSE $PORT

COPY app /usr/local/bin/app
ENTRYPOINT ["/usr/local/bin/app"]
