# One image for all roles of the store: docs/deployment.md.
#     docker build -t inference-store .
#     docker run -e ISTORE_ROLE=web … inference-store    # web, proxy, listener, worker, exporter or beat
# BASE is any Debian with Python 3.11 or later, its module venv, libstdc++6, tzdata and useradd.
ARG BASE=docker.io/library/python:3.13-slim-bookworm

FROM ${BASE} AS build
WORKDIR /build
# What is installed is what the lock names, with its hashes; hatchling, which builds the wheels, is in it.
COPY requirements.lock ./
RUN python3 -m venv tools && python3 -m venv --without-pip /opt/istore \
    && tools/bin/python -m pip --python /opt/istore/bin/python install -qq \
        --disable-pip-version-check --require-hashes --requirement requirements.lock
COPY . ./
RUN set -e; for part in . sdk; do \
        env --chdir="$part" /opt/istore/bin/python -m hatchling build -t wheel -d /build/wheels; \
    done; \
    tools/bin/python -m pip --python /opt/istore/bin/python install --quiet \
        --disable-pip-version-check --no-deps --no-index wheels/*.whl
# Secrets are not made in the image: the settings get some that nobody uses.
RUN set -e; \
    ISTORE_SECRET_KEY=build ISTORE_SIGNING_KEY=build ISTORE_METRICS_TOKEN=build \
    ISTORE_DATABASE_URL=postgresql://build/build ISTORE_REDIS_URL=redis://build \
    ISTORE_STATIC_DIR=/opt/istore/static /opt/istore/bin/istore-server collectstatic --noinput --verbosity 0; \
    tools/bin/python -m pip --python /opt/istore/bin/python uninstall --yes --quiet \
        hatchling editables pathspec pluggy trove-classifiers
# What only developers, compilers and debuggers read goes, and then every import is tried.
RUN ISTORE_SECRET_KEY=build ISTORE_SIGNING_KEY=build ISTORE_METRICS_TOKEN=build \
    ISTORE_DATABASE_URL=postgresql://build/build ISTORE_REDIS_URL=redis://build \
    DJANGO_SETTINGS_MODULE=istore.settings ISTORE_HOME=/build/home ISTORE_STATIC_DIR=/opt/istore/static \
    /opt/istore/bin/python scripts/trim_environment.py /opt/istore

FROM ${BASE}
COPY --from=build /opt/istore /opt/istore
# The numbers are given, because volumes and securityContext name them.
RUN groupadd --gid 10001 istore \
    && useradd --uid 10001 --gid istore --no-create-home --home-dir /var/lib/istore --shell /usr/sbin/nologin istore \
    && install -d -o istore -g istore -m 0700 /var/lib/istore /var/spool/istore /var/backups/istore \
    && install -d -o istore -g istore -m 0755 /run/istore
ENV PATH=/opt/istore/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ISTORE_HOME=/var/lib/istore \
    ISTORE_HOST=0.0.0.0 \
    ISTORE_STATIC_DIR=/opt/istore/static \
    ISTORE_LOG_JSON=true
USER 10001:10001
WORKDIR /var/lib/istore
EXPOSE 8000 8001
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["istore-probe"]
ENTRYPOINT ["istore-server"]
CMD ["run"]
