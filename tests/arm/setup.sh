#!/usr/bin/env bash
# Makes an emulated 64-bit Raspberry Pi OS in a folder: `bash tests/arm/setup.sh DEST`, then
# `PI=4 DEST/python ...` (Cortex-A72) or `PI=5 DEST/python ...` (Cortex-A76).
# It needs apt-get and dpkg-deb (Debian or Ubuntu) and a python3 with pip; it does not need root.
# It shows that code runs there and what it answers; it says nothing about speed, heat or cameras.
set -Eeuo pipefail

dest=$(mkdir -p "$1" && cd "$1" && pwd)
python=${PYTHON:-python3}
mirror=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
  grep -m1 -E '/debian/?$')}

# Downloads packages by an apt of its own, so that the system's is neither read nor locked.
download() {
  local architecture=$1 suite=$2 state=$dest/.apt/$1 options
  shift 2
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/packages"
  touch "$state/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > "$state/sources"
  options=(-qq -o "APT::Architecture=$architecture" -o "APT::Architectures::=$architecture"
    -o "Dir::State::Lists=$state/lists" -o "Dir::State::status=$state/status" -o "Dir::Cache=$state/cache"
    -o "Dir::Etc::sourcelist=$state/sources" -o Dir::Etc::sourceparts=/dev/null
    -o Debug::NoLocking=1 -o "APT::Sandbox::User=$(id -un)" -o Acquire::Languages=none)
  apt-get "${options[@]}" update
  (cd "$state/packages" && apt-get "${options[@]}" download "$@")
}

# QEMU 10: version 7.2 of Debian 12 crashes LiteRT.
download "$(dpkg --print-architecture)" bookworm-backports qemu-user
dpkg-deb --fsys-tarfile "$dest/.apt/$(dpkg --print-architecture)"/packages/qemu-user_*.deb |
  tar -xO ./usr/bin/qemu-aarch64 > "$dest/qemu-aarch64"
chmod +x "$dest/qemu-aarch64"

# What CPython 3.11 and the wheels load.
download arm64 bookworm libc6 libgcc-s1 libstdc++6 libgomp1 libcrypt1 zlib1g libexpat1 libbz2-1.0 \
  liblzma5 libffi8 libssl3 libsqlite3-0 libuuid1 libreadline8 libtinfo6 libncursesw6 libnsl2 \
  libtirpc3 libdb5.3 libgssapi-krb5-2 libkrb5-3 libk5crypto3 libcom-err2 libkrb5support0 \
  libkeyutils1 python3.11-minimal libpython3.11-minimal libpython3.11-stdlib tzdata media-types
for part in bin lib sbin; do
  mkdir -p "$dest/root/usr/$part"
  ln -sfn "usr/$part" "$dest/root/$part"
done
for package in "$dest"/.apt/arm64/packages/*.deb; do
  dpkg-deb --fsys-tarfile "$package" | tar -x -C "$dest/root" --keep-directory-symlink \
    --no-same-owner --exclude='./usr/share/doc*' --exclude='./usr/share/man*'
done

# Wheels for the target, chosen by the host's pip.
wheels() {
  local target=$1 platforms=() tag
  shift
  for tag in 2_36 2_35 2_34 2_31 2_28 2_27 2_26 2_24 2_17; do platforms+=(--platform "manylinux_${tag}_aarch64"); done
  "$python" -m pip install --quiet --disable-pip-version-check --only-binary=:all: --no-compile \
    "${platforms[@]}" --platform manylinux2014_aarch64 --python-version 3.11.2 --implementation cp \
    --abi cp311 --abi abi3 --abi none --upgrade --target "$target" "$@"
}
wheels "$dest/site" ai-edge-litert==2.3.0 numpy==2.4.6 opencv-python-headless==5.0.0.93 pytest

# Imports are about twice as fast under emulation if nothing is left to compile.
if "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
  "$python" -m compileall -q -j 0 --invalidation-mode unchecked-hash \
    "$dest/site" "$dest/root/usr/lib/python3.11" > /dev/null || true
fi

# -0 makes sys.executable this script, so that processes which start others stay emulated.
cat > "$dest/python" <<'END'
#!/bin/bash
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
case "${PI:-5}" in
  4) processor=cortex-a72 ;;
  5) processor=cortex-a76 ;;
  *) echo "PI=4 or PI=5" >&2; exit 2 ;;
esac
export PYTHONHOME=$here/root/usr PYTHONPATH="$here/site${EXTRA_PYTHONPATH:+:$EXTRA_PYTHONPATH}"
export PYTHONDONTWRITEBYTECODE=1 PYTHONUTF8=1
unset LD_LIBRARY_PATH LD_PRELOAD QEMU_CPU QEMU_LD_PREFIX
exec "$here/qemu-aarch64" -cpu "$processor" -L "$here/root" -0 "$here/python" "$here/root/usr/bin/python3.11" "$@"
END
chmod +x "$dest/python"
rm -rf "$dest/.apt"
