#!/usr/bin/env bash
# Measures TLS 1.3 downloads of one warm file from Vitrine and from nginx, one after the other, over and over.
#
#   benches/tls/run.sh [GROUPS] [SUITE] [CONNECTIONS...]     (3 groups, 128 and 256 bits, 1 and 8 connections)
#
# Prints per line: suite, connections, server, GiB/s, CPU seconds per GiB; at the end the medians and their ratio. Needs
# nginx, openssl, curl and a built target/release/vitrine. QUIET=CMD runs each measurement under CMD.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
groups=${1:-3} suites=${2:-128 256}
shift $(($# < 2 ? $# : 2))
connections=${*:-1 8}
bytes=$((1024 * 1024 * 1024))

target=$root/target/tls-bench
cargo build --release --quiet --manifest-path "$here/Cargo.toml" --target-dir "$target"
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/key.pem" -out "$work/cert.pem" \
    -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null
mkdir "$work/files"
head -c $bytes /dev/urandom >"$work/files/image"

# nginx without kernel TLS reads the file into its output buffers; NGINX_BUFFERS, NGINX_SENDFILE and NGINX_NOPUSH try others.
cat >"$work/nginx.conf" <<CONF
user root;
daemon off;
pid $work/pid;
error_log stderr warn;
worker_processes auto;
worker_cpu_affinity auto;
events { worker_connections 1024; }
http {
    access_log off;
    sendfile ${NGINX_SENDFILE:-off};
    output_buffers ${NGINX_BUFFERS:-2 256k};
    tcp_nopush ${NGINX_NOPUSH:-off};
    open_file_cache max=16 inactive=1h;
    client_body_temp_path $work/body; proxy_temp_path $work/proxy; fastcgi_temp_path $work/fastcgi;
    uwsgi_temp_path $work/uwsgi; scgi_temp_path $work/scgi;
    server {
        listen 127.0.0.1:9701 ssl reuseport;
        ssl_certificate $work/cert.pem;
        ssl_certificate_key $work/key.pem;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_buffer_size 16k;
        root $work/files;
    }
}
CONF
nginx -c "$work/nginx.conf" -p "$work" -e stderr &
pids+=($!)
nginx=$!

cat >"$work/vitrine.conf" <<CONF
[dataplane]
tls_cert_file = $work/cert.pem
tls_key_file = $work/key.pem
CONF
"${VITRINE:-$root/target/release/vitrine}" serve --config "$work/vitrine.conf" --data-dir "$work/data" --listen 127.0.0.1:9702 \
    --admin-listen 127.0.0.1:9703 >"$work/ready" 2>"$work/log" &
pids+=($!)
vitrine=$!
until grep -q ready "$work/ready"; do sleep 0.05; done
url=https://localhost:9702/v2/images
image=$(curl -sS --cacert "$work/cert.pem" -H 'Content-Type: application/json' \
    -d '{"disk_format":"raw","container_format":"bare"}' $url | sed 's/.*"id": *"\([^"]*\)".*/\1/')
curl -sS --cacert "$work/cert.pem" -T "$work/files/image" -H 'Content-Type: application/octet-stream' "$url/$image/file"
curl -sS --cacert "$work/cert.pem" "$url/$image/file" | cmp - "$work/files/image"
curl -sS --cacert "$work/cert.pem" https://localhost:9701/image | cmp - "$work/files/image"
echo "bytes compared"

tree() { echo "$1" $(pgrep -P "$1"); }
one() { # SUITE CONNECTIONS SERVER PORT PATH PID
    echo "$1 $2 $3 $($target/release/tls pull "$4" "$5" $bytes "$2" "${ROUNDS:-2}" "$1" $(tree "$6"))"
}
group() {
    for each in $suites; do
        for count in $connections; do
            one "$each" "$count" vitrine 9702 "/v2/images/$image/file" $vitrine
            one "$each" "$count" nginx 9701 /image $nginx
        done
    done
}
export -f one group tree
export target bytes image suites connections vitrine nginx ROUNDS
echo "load: $(cat /proc/loadavg)"
for _ in $(seq "$groups"); do ${QUIET:-} bash -c group; done | tee "$work/lines"
python3 - "$work/lines" <<'PY'
import statistics, sys
rows = {}
for line in open(sys.argv[1]):
    suite, connections, server, rate, cpu = line.split()
    rows.setdefault((suite, int(connections)), {}).setdefault(server, []).append((float(rate), float(cpu)))
for (suite, connections), servers in sorted(rows.items()):
    middle = {name: [statistics.median(column) for column in zip(*values)] for name, values in servers.items()}
    (rate, cpu), (their_rate, their_cpu) = middle["vitrine"], middle["nginx"]
    print(f"AES-{suite}, {connections} connections: vitrine {rate:.2f} GiB/s {cpu:.3f} s/GiB, nginx {their_rate:.2f} GiB/s "
          f"{their_cpu:.3f} s/GiB: CPU {cpu / their_cpu:.2f} x, throughput {rate / their_rate:.2f} x")
PY
