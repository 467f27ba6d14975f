#!/usr/bin/env bash
# Publishes the image for amd64 and arm64 around the binaries of a release. Needs Docker with buildx, a login to the registry, and
# the archives of both architectures in target/release-files: scripts/release.sh makes them.
#
#   scripts/release-image.sh ghcr.io/OWNER/NAME v0.1.0
#
# Prints name=… and digest=… of the image; everything else goes to standard error. Not tested where no buildx is: the final stage
# of the Dockerfile around a finished binary is what scripts/image.sh builds with IMAGE_BINARY.

set -euo pipefail
cd "$(dirname "$0")/.."

name=${1:?the name of the image}
version=${2#v}
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT

# Attestations of images need a builder of this kind.
docker buildx create --driver docker-container --name release --use >&2

parts=()
for arch in amd64 arm64; do
  # This directory replaces the build stage of the Dockerfile.
  stage=$room/$arch
  mkdir -p "$stage/out/etc/ssl/certs" "$stage/data"
  tar --extract --gzip --file "target/release-files/token-broker-$version-linux-$arch.tar.gz" --strip-components 1 \
    --directory "$stage/out" "token-broker-$version-linux-$arch/token-broker"
  install -m 0644 /etc/ssl/certs/ca-certificates.crt "$stage/out/etc/ssl/certs/"
  echo 'broker:x:65532:65532:token-broker:/:/token-broker' >"$stage/out/etc/passwd"
  echo 'broker:x:65532:' >"$stage/out/etc/group"
  docker buildx build --platform "linux/$arch" --build-context "build=$stage" --build-arg "VERSION=$version" \
    --build-arg "REVISION=$(git rev-parse HEAD)" --sbom=true --provenance=mode=max --tag "$name:$version-$arch" --push . >&2
  parts+=("$name:$version-$arch")
done

docker buildx imagetools create --tag "$name:$version" "${parts[@]}" >&2
[ "$(docker run --rm "$name:$version" --version)" = "realtime-token-broker $version" ]
echo "name=$name"
echo "digest=$(docker buildx imagetools inspect "$name:$version" --format '{{.Manifest.Digest}}')"
