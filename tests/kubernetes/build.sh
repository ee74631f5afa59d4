# Build Kubernetes' programs from Debian's own source package, into the directory $1.
# Needs Debian's golang-go and golang-github-modern-go-reflect2-dev; 6 minutes on two cores.
set -eu
to=$1
work=$(mktemp -d "$to.XXXXXX")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/bin"
. /etc/os-release
key=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb-src [signed-by=$key] http://deb.debian.org/debian $VERSION_CODENAME main" > "$work/sources"
# The machine's own lists and sources stay as they are.
apt="apt-get -o Dir::Etc::sourcelist=$work/sources -o Dir::Etc::sourceparts=/nonexistent
    -o Dir::State::lists=$work/lists -o Dir::Cache::srcpkgcache= -o Dir::Cache::pkgcache="
$apt update
(cd "$work" && $apt source --download-only kubernetes && dpkg-source -x kubernetes_*.dsc source)

export GOPATH="$work/go" GOCACHE="$work/cache" GO111MODULE=off CGO_ENABLED=0
mkdir -p "$GOPATH/src/k8s.io"
ln -s "$work/source" "$GOPATH/src/k8s.io/kubernetes"
cd "$GOPATH/src/k8s.io/kubernetes"
# The one that comes with it does not build with this Go.
reflect2=github.com/modern-go/reflect2
rm -r "vendor/$reflect2"
cp -r "/usr/share/gocode/src/$reflect2" "vendor/$reflect2"
# A part of it is made at a build: what the API tells of itself.
go build -o "$work/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
packages=$(grep -rl --include=*.go '+k8s:openapi-gen=' pkg vendor/k8s.io/*/ | xargs -n1 dirname |
    grep -v -e _examples -e testdata | sort -u |
    sed 's,^vendor/,,;s,^pkg/,k8s.io/kubernetes/pkg/,' | paste -sd,)
"$work/openapi-gen" -i "$packages" -p k8s.io/kubernetes/pkg/generated/openapi \
    -O zz_generated.openapi -h /dev/null -r /dev/null --output-base "$GOPATH/src"
version=v$(dpkg-parsechangelog -l debian/changelog -S Version | sed 's/.*really//;s/-.*//')
set -- ./cmd/kube-apiserver ./cmd/kube-controller-manager ./cmd/kube-scheduler ./cmd/kubelet
go build -trimpath -o "$work/bin/" \
    -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$version" "$@"

cat > "$work/pause.go" << 'GO'
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	<-ended
}
GO
go build -o "$work/bin/pause" "$work/pause.go"
mv "$work/bin" "$to"
