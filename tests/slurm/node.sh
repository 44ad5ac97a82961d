#!/bin/bash
# One node of the lab, in new net, uts, mount and ipc namespaces: node.sh LAB NAME ADDRESS GATEWAY SHARED...
# Its /tmp and /dev/shm are its own; the SHARED folders (a cluster's file system) are put back into it.
# Becomes process 1 of a pid namespace, with which all of the node ends.
set -eu
lab=$1 name=$2 address=$3 gateway=$4
shift 4
hostname "$name"
mount --make-rprivate /
mount --no-mtab --bind "$lab/hosts" /etc/hosts
mount --no-mtab -t tmpfs shm /dev/shm
mkdir -p "$lab/nodes/$name"
mount --no-mtab -t tmpfs stage /mnt
mkdir /mnt/tmp
mount --no-mtab --bind "$lab/nodes/$name" /mnt/tmp
chmod 1777 /mnt/tmp
for folder in "$lab" "$@"; do
  case $folder in /tmp/*)
    mkdir -p "/mnt/shared$folder"
    mount --no-mtab --rbind "$folder" "/mnt/shared$folder"
    mkdir -p "/mnt$folder" ;;
  esac
done
mount --no-mtab --rbind /mnt/tmp /tmp
for folder in "$lab" "$@"; do
  case $folder in /tmp/*) mount --no-mtab --rbind "/mnt/shared$folder" "$folder" ;; esac
done
umount -l /mnt
touch "$lab/run/$name.ready"
for _ in $(seq 500); do ip link show eth0 > /dev/null 2>&1 && break; sleep 0.01; done
ip link set lo up
ip address add "$address/24" dev eth0
ip link set eth0 up
ip route add default via "$gateway"
# A shell as process 1: it reaps what is orphaned, and stays where slurmd is killed.
exec unshare --pid --fork --kill-child=KILL --mount-proc \
  bash -c 'slurmd -D -N "$0" -f "$1/slurm.conf" & echo $! > "$1/run/$0.slurmd"; wait $!; while :; do sleep 1; done' "$name" "$lab"
