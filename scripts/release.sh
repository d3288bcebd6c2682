#!/usr/bin/env bash
# Makes a release out of a tag, into .build/release/vX.Y.Z:
#
#   autoresearchd_X.Y.Z-1_ARCH.deb   for this Debian or Ubuntu release (deb.sh)
#   autoresearchd-X.Y.Z.tar.gz       the source, which says its version without git
#   NOTES.md                         the version's section of CHANGELOG.md
#   SHA256SUMS                       of the three
#
#   scripts/release.sh [TAG]         the tag of this commit, unless another is named
#
# It builds from a clone of the tag, so that nothing of this work tree gets in.
# One tag, Go and CPython make the same bytes.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

tag=${1:-$(git describe --tags --exact-match --match 'v[0-9]*' 2>/dev/null || true)}
[ -n "$tag" ] || die "no version is tagged at this commit: git tag -a v1.2.0 -m 1.2.0, or name a tag"
[[ $tag =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9a-z.]+)?$ ]] || die "$tag is no version: tags are v1.2.0, or v1.2.0-rc1"
git rev-parse --quiet --verify "refs/tags/$tag^{commit}" >/dev/null || die "there is no tag $tag"
version=${tag#v}

out=$build/release/$tag
src=$build/release/source
rm -rf "$out" "$src"
git clone --quiet --depth 1 --branch "$tag" "file://$root" "$src" 2>/dev/null
mkdir -p "$out"

# --- what changed: a candidate's notes are those of the version that it may become

final=${version%%-*}
awk -v v="$final" '$1 == "##" { on = $2 == v || $2 == v "," } on' "$src/CHANGELOG.md" >"$out/NOTES.md"
grep -q '^- ' "$out/NOTES.md" || die "CHANGELOG.md has no section \"## $final, DATE\" with what changed: write one, commit, and tag that"

# --- the package

(cd "$src" && env -u AUTORESEARCH_BUILD -u BIN -u DEB_VERSION scripts/deb.sh)
binary=$src/.build/deb/bin/autoresearchd
read -r _ said < <("$binary" version)
[ "$said" = "$tag" ] || die "the binary says that it is version $said, not $tag"
cp "$(cat "$src/.build/deb/latest")" "$out/"

# --- the source

git -C "$src" archive --format=tar --prefix="autoresearchd-$version/" --add-virtual-file="autoresearchd-$version/VERSION:$tag"$'\n' HEAD |
  gzip -9n >"$out/autoresearchd-$version.tar.gz"

(cd "$out" && sha256sum -- * >SHA256SUMS.part && mv SHA256SUMS.part SHA256SUMS)
rm -rf "$src"
say "made $out:"
cat "$out/SHA256SUMS"
