# A PostgreSQL whose data is on a file system of its own, of SIZE, in a mount namespace of its own; run by `unshare`.
# Started again whenever it ends, as an init system would. What follows the first three arguments runs a program as a user
# that PostgreSQL takes.
set -eu
place=$1 size=$2 binaries=$3
shift 3
mount -t tmpfs -o "size=$size,mode=0755" tmpfs "$place/disk"
mkdir "$place/disk/data"
if [ "$1" = setpriv ]; then chown "$owner" "$place" "$place/disk/data"; fi
"$@" "$binaries/initdb" -D "$place/disk/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync
while :; do
  "$@" setpriv --pdeathsig INT "$binaries/postgres" -D "$place/disk/data" -k "$place" \
    -c listen_addresses= -c fsync=off || true
  sleep 0.1
done
