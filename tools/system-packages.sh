#!/bin/sh
# Installs what the tests need from Debian's packages: nginx, node with npm for the browser's
# side of the stream, and clamd, which the tests start themselves on a unix socket with a
# signature of their own. Does nothing where all of it is there.
set -eu

missing=""
PATH="$PATH:/usr/sbin:/sbin"
command -v nginx >/dev/null 2>&1 || missing="$missing nginx-light"
command -v node >/dev/null 2>&1 || missing="$missing nodejs"
command -v npm >/dev/null 2>&1 || missing="$missing npm"
command -v clamd >/dev/null 2>&1 || missing="$missing clamav-daemon"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
  echo "Please install:$missing" >&2
  exit 1
fi
as_root=""
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null 2>&1 || { echo "Please install, as root:$missing" >&2; exit 1; }
  as_root="sudo"
fi

# A package that starts its daemon would take a port; policy-rc.d (101) forbids it.
policy=/usr/sbin/policy-rc.d
made=""
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
  $as_root chmod 755 "$policy"
  made=yes
fi
trap '[ -z "$made" ] || $as_root rm -f "$policy"' EXIT
$as_root apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
