# The first process of the cluster's namespaces (network, mounts, processes); DIRECTORY is its own.
# Everything of the cluster is a child of this shell's, and gone with it.
set -eu
cd "$DIRECTORY"
PATH="$PATH:/usr/sbin:/sbin"
# A kubelet asks a cloud who it is.
export AWS_EC2_METADATA_DISABLED=true
ip link set lo up
# Where a cluster's service of its own API stands: pods are told so in their environment.
ip addr add 10.96.0.1/32 dev lo
ip link add nodes type bridge
ip addr add 11.0.10.1/24 dev nodes
ip link set nodes up
echo 1 > /proc/sys/net/ipv4/ip_forward

etcd --data-dir etcd --log-level error --listen-client-urls http://127.0.0.1:2379 \
    --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 \
    --unsafe-no-fsync > etcd.log 2>&1 &

# Some tests end it: it is started again, as on any control plane.
while :; do
    "$PROGRAMS/kube-apiserver" --etcd-servers http://127.0.0.1:2379 \
        --secure-port 443 --bind-address 0.0.0.0 --advertise-address 11.0.10.1 \
        --service-cluster-ip-range 10.96.0.0/24 --endpoint-reconciler-type none \
        --tls-cert-file api.pem --tls-private-key-file api.pem --cert-dir apiserver \
        --service-account-issuer https://kubernetes.default.svc \
        --service-account-key-file accounts.pem --service-account-signing-key-file accounts.pem \
        --token-auth-file tokens.csv --authorization-mode RBAC \
        --kubelet-preferred-address-types InternalIP --profiling=false >> apiserver.log 2>&1 || :
done &

"$PROGRAMS/kube-controller-manager" --kubeconfig admin.conf --leader-elect=false \
    --service-account-private-key-file accounts.pem --cert-dir controllers --port 0 \
    --secure-port 0 --node-monitor-grace-period 12s --pod-eviction-timeout 5s \
    > controllers.log 2>&1 &
"$PROGRAMS/kube-scheduler" --kubeconfig admin.conf --leader-elect=false --cert-dir scheduler \
    --port 0 --secure-port 0 > scheduler.log 2>&1 &

# NAME NUMBER RULE: what becomes of packets that its pods send away.
node() {
    ip link add "to-$1" type veth peer name "node-$1"
    ip link set "to-$1" master nodes up
    unshare --net sh -euc '
        until ip link set eth0 up 2> /dev/null; do sleep 0.02; done
        ip link set lo up
        ip addr add "11.0.10.1$1/24" dev eth0
        ip route add default via 11.0.10.1
        ip rule add from "10.244.$1.0/24" pref 10 $2
        containerd --config "$0/containerd.toml" > "$0/containerd.log" 2>&1 &
        # As a service is, it is started again.
        while :; do
            "$PROGRAMS/kubelet" --config "$0/kubelet.yaml" --kubeconfig admin.conf \
                --hostname-override "$0" --node-ip "11.0.10.1$1" --root-dir "$DIRECTORY/$0/kubelet" \
                --cert-dir "$0/certificates" --container-runtime remote \
                --container-runtime-endpoint "unix://$DIRECTORY/$0/containerd.sock" \
                >> "$0/kubelet.log" 2>&1 || :
        done
        ' "$1" "$2" "$3" &
    while [ "$(readlink "/proc/$!/ns/net")" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
    ip link set "node-$1" netns "$!"
    nsenter --net --target "$!" ip link set "node-$1" name eth0
    ip route add "10.244.$2.0/24" via "11.0.10.1$2"
}
node n1 1 "lookup main"
node n2 2 blackhole
wait
