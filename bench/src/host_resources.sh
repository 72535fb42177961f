# Creates clones of the disk image $2 and taps for $1 VMs with the usual commands, then removes them.
# Runs in its own network and mount namespaces.
mount -t tmpfs none /dev/shm
begun=$(date +%s%N)
vm=0
while [ "$vm" -lt "$1" ]; do
	net=10.$((vm / 256)).$((vm % 256)) user=$((1879048192 + vm))
	mac=06:00:0a:$(printf '%02x:%02x' $((vm / 256)) $((vm % 256)))
	cp --sparse=auto "$2" "/dev/shm/$vm"
	chown "$user:$user" "/dev/shm/$vm"
	ip tuntap add dev "mb$vm" mode tap user "$user"
	ip link set dev "mb$vm" address "$mac:01"
	ip addr add "$net.1/24" dev "mb$vm"
	ip link set dev "mb$vm" up
	ip neigh add "$net.2" lladdr "$mac:02" nud permanent dev "mb$vm"
	vm=$((vm + 1))
done
allocated=$(date +%s%N)
vm=0
while [ "$vm" -lt "$1" ]; do
	ip link delete dev "mb$vm"
	vm=$((vm + 1))
done
rm /dev/shm/*
removed=$(date +%s%N)
echo "{\"allocate_ns\": $((allocated - begun)), \"remove_ns\": $((removed - allocated))}"
