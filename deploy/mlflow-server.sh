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
# password only this user may read there. systemd names a folder that ends with the service.
umask 077
MLFLOW_AUTH_CONFIG_PATH="${RUNTIME_DIRECTORY:-$(mktemp -d)}/basic-auth.ini"
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

# As an argument the password would stand in the list of processes, for every user of the machine.
export MLFLOW_BACKEND_STORE_URI="$MLFLOW_DATABASE"

# A browser names the page that it is on with every request that may change something, a search
# included, and MLflow refuses pages other than these.
origins="$(printf %s "$MLFLOW_HOSTS" | sed 's/ //g; s|[^,][^,]*|https://&|g')"

# The server's queue of jobs is eight more processes of 250 MB (3.17), for judges of MLflow's that
# nothing here uses.
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION="${MLFLOW_SERVER_ENABLE_JOB_EXECUTION:-false}"
# Usage statistics, which MLflow sends to its makers.
export MLFLOW_DISABLE_TELEMETRY="${MLFLOW_DISABLE_TELEMETRY:-true}"

# Clients send artifacts through the server, so that they need no key of the store. Requests with
# another Host header than these names are refused, against DNS rebinding.
exec "${MLFLOW_COMMAND:-mlflow}" server \
    --app-name basic-auth \
    --artifacts-destination "$MLFLOW_ARTIFACTS" \
    --serve-artifacts \
    --host "${MLFLOW_BIND:-127.0.0.1}" \
    --port "${MLFLOW_PORT:-5000}" \
    --workers "${MLFLOW_WORKERS:-2}" \
    --allowed-hosts "$MLFLOW_HOSTS" \
    --cors-allowed-origins "$origins"
