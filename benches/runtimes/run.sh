#!/bin/sh
# Downloads one warm file from each contender and from nginx, in turn, several groups of them, and prints the medians.
# Needs: cargo, nginx, chrt and taskset (util-linux). Usage: [PORT=N] ./run.sh [GROUPS] [MIB]
set -eu
groups=${1:-3}
mib=${2:-1024}
port=${PORT:-28640} # and the four after it
cd "$(dirname "$0")"
work=$(mktemp -d)
pids=
cleanup() {
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap cleanup EXIT INT TERM
chmod 755 "$work"

target=${CARGO_TARGET_DIR:-target}/release
cargo build --release --locked --quiet
dd if=/dev/zero of="$work/image" bs=1M count="$mib" status=none
chmod 644 "$work/image"
cat "$work/image" >/dev/null

# An idle virtual processor is put to sleep by its host, and waking it costs more than a request: keep both awake.
for cpu in 0 1; do
    taskset -c $cpu chrt --idle 0 sh -c 'while :; do :; done' &
    pids="$pids $!"
done

cat >"$work/nginx.conf" <<CONF
daemon off;
worker_processes 1;
worker_cpu_affinity 01;
pid $work/nginx.pid;
error_log $work/error.log;
events { worker_connections 1024; }
http {
    access_log off;
    sendfile on;
    tcp_nopush off;
    server { listen 127.0.0.1:$port; root $work; }
}
CONF
nginx -c "$work/nginx.conf" -e "$work/error.log" &
nginx_pid=$!
"$target/monoio_sendfile" $((port + 1)) "$work/image" 0 & monoio_pid=$!
EPOLL=1 "$target/monoio_sendfile" $((port + 2)) "$work/image" 0 & epoll_pid=$!
"$target/raw_sendfile" $((port + 3)) "$work/image" 0 & raw_pid=$!
"$target/glommio_read" $((port + 4)) "$work/image" 0 & glommio_pid=$!
pids="$pids $nginx_pid $monoio_pid $epoll_pid $raw_pid $glommio_pid"
sleep 1
nginx_worker=$(cat "/proc/$nginx_pid/task/$nginx_pid/children")

one() { # name port-offset connections rounds pid...
    name=$1 offset=$2 connections=$3 rounds=$4
    shift 4
    "$target/pull" $((port + offset)) "$connections" "$rounds" 1 "$@" >>"$work/$name.$connections"
}
for group in $(seq "$groups"); do
    for shape in "1 2" "8 1"; do
        # shellcheck disable=SC2086 # two words each
        {
            one nginx 0 $shape $nginx_pid $nginx_worker
            one monoio 1 $shape $monoio_pid
            one monoio-epoll 2 $shape $epoll_pid
            one raw-io-uring 3 $shape $raw_pid
            one glommio 4 $shape $glommio_pid
        }
    done
    echo "group $group of $groups done, load $(cut -d' ' -f1-3 /proc/loadavg)" >&2
done

median() { cut -d' ' -f"$2" "$1" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
lowest() { cut -d' ' -f"$2" "$1" | sort -n | head -1; }
echo "| contender | connections | CPU s/GiB, median (lowest) | GiB/s, median |"
echo "|---|---|---|---|"
for connections in 1 8; do
    for name in nginx monoio monoio-epoll raw-io-uring glommio; do
        file=$work/$name.$connections
        echo "| $name | $connections | $(median "$file" 2) ($(lowest "$file" 2)) | $(median "$file" 1) |"
    done
done
