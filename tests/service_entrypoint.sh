#!/bin/sh
# docker-entrypoint.sh of the tests' images, to the contract of the official ones as their pages on
# Docker Hub document it: the same variables, the same users, a first server without a port.
set -eu

postgres_init() {
  : "${POSTGRES_PASSWORD:?is not set, and a database without a password is not made}"
  POSTGRES_USER=${POSTGRES_USER:-postgres}
  POSTGRES_DB=${POSTGRES_DB:-$POSTGRES_USER}
  mkdir -p "$PGDATA"
  chmod 700 "$PGDATA"
  [ ! -s "$PGDATA/PG_VERSION" ] || return 0
  printf '%s\n' "$POSTGRES_PASSWORD" | (
    cat >/tmp/pw
    eval 'initdb --no-sync --username="$POSTGRES_USER" --pwfile=/tmp/pw '"${POSTGRES_INITDB_ARGS:-}"
    rm /tmp/pw
  )
  echo "host all all all ${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"
  PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
  if [ "$POSTGRES_DB" != postgres ]; then
    psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" -d postgres -v db="$POSTGRES_DB" <<'SQL'
CREATE DATABASE :"db";
SQL
  fi
  PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -m fast -w stop
  unset POSTGRES_PASSWORD
}

mysql_init() {
  : "${MYSQL_ROOT_PASSWORD:?is not set, and a database without a password is not made}"
  [ ! -d /var/lib/mysql/mysql ] || return 0
  mariadb-install-db --datadir=/var/lib/mysql --auth-root-authentication-method=normal \
    --skip-test-db >/dev/null
  mariadbd --datadir=/var/lib/mysql --skip-networking --socket=/var/run/mysqld/init.sock &
  until mariadb-admin --no-defaults --user=root --socket=/var/run/mysqld/init.sock ping; do
    sleep 0.2
  done >/dev/null 2>&1
  {
    echo "ALTER USER root@localhost IDENTIFIED BY '$MYSQL_ROOT_PASSWORD';"
    echo "CREATE USER root@'%' IDENTIFIED BY '$MYSQL_ROOT_PASSWORD';"
    echo "GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;"
    if [ -n "${MYSQL_DATABASE:-}" ]; then
      echo "CREATE DATABASE \`$MYSQL_DATABASE\`;"
    fi
    if [ -n "${MYSQL_USER:-}" ]; then
      echo "CREATE USER '$MYSQL_USER'@'%' IDENTIFIED BY '$MYSQL_PASSWORD';"
      echo "GRANT ALL ON \`$MYSQL_DATABASE\`.* TO '$MYSQL_USER'@'%';"
    fi
    echo SHUTDOWN\;
  } | mariadb --no-defaults --user=root --socket=/var/run/mysqld/init.sock
  wait
}

case "$1" in
postgres) postgres_init ;;
mariadbd) mysql_init ;;
esac
exec "$@"
