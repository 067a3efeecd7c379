#!/bin/sh
# SeaweedFS in one process, with one identity: the keys that `make_secrets` made.
set -eu
secrets=${ISTORE_SECRETS:-/run/istore}
AWS_ACCESS_KEY_ID=$(cat "$secrets/s3_access_key")
AWS_SECRET_ACCESS_KEY=$(cat "$secrets/s3_secret_key")
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
# Each bucket takes volumes of its own; 0 makes as many as the disk holds.
exec weed server -dir="${DATA:-/data}" -ip="${ADDRESS:-objects}" -ip.bind="${BIND:-0.0.0.0}" \
    -master.volumeSizeLimitMB=1024 -volume.max=0 -filer -s3 -s3.port="${PORT:-8333}" "$@"
