#!/bin/sh
# A tracking server for many users: PostgreSQL, artifacts in an S3-protocol store, one account a
# user. Its settings are environment variables, which mlflow-server.env.example lists; README.md
# beside it says what has to be there before.
set -eu

: "${MLFLOW_DATABASE:?postgresql+psycopg://USER:PASSWORD@HOST/DATABASE}"
: "${MLFLOW_ARTIFACTS:?s3://BUCKET/FOLDER}"
: "${MLFLOW_HOSTS:?the names by which browsers and drivers call this server, such as mlflow.lab.example}"
: "${MLFLOW_FLASK_SERVER_SECRET_KEY:?a long random text that stays the same}"

# MLflow reads the place of its users from a file alone. They are in the same database, whose
# password only this user may read there.
umask 077
MLFLOW_AUTH_CONFIG_PATH="$(mktemp -d)/basic-auth.ini"
export MLFLOW_AUTH_CONFIG_PATH
cat > "$MLFLOW_AUTH_CONFIG_PATH" <<END
[mlflow]
database_uri = $(printf %s "$MLFLOW_DATABASE" | sed 's/%/%%/g')
# What a user may do with an experiment of somebody else, unless its owner says otherwise.
default_permission = READ
admin_username = admin
# Hash a password once a minute and not at each request; for as long a changed one still works.
auth_cache_ttl_seconds = 60
END

# The server's queue of jobs is four more processes, for judges of MLflow's that nothing here uses.
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION="${MLFLOW_SERVER_ENABLE_JOB_EXECUTION:-false}"

# Clients send artifacts through the server, so that they need no key of the store. Requests with
# another Host header than these names are refused, against DNS rebinding.
exec "${MLFLOW_COMMAND:-mlflow}" server \
    --app-name basic-auth \
    --backend-store-uri "$MLFLOW_DATABASE" \
    --artifacts-destination "$MLFLOW_ARTIFACTS" \
    --serve-artifacts \
    --host "${MLFLOW_BIND:-127.0.0.1}" \
    --port "${MLFLOW_PORT:-5000}" \
    --workers "${MLFLOW_WORKERS:-2}" \
    --allowed-hosts "$MLFLOW_HOSTS"
