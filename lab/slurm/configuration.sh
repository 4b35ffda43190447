# Write the configuration of a cluster into $folder/etc. Sourced by lab/slurm/start, with the ports and options set.
# shellcheck shell=bash disable=SC2154 # lab/slurm/start sets them

storage='AccountingStorageType=accounting_storage/none'
if [ -n "$accounting" ]; then
  storage="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$dbd_port
AccountingStoragePass=$folder/run/munge.socket
AccountingStorageEnforce=associations,limits,qos
AccountingStorageTRES=gres/gpu"
  : >"$folder/etc/accounting"
fi

cat >"$folder/etc/slurm.conf" <<CONFIGURATION
ClusterName=lab
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=$ctld_port
SlurmdPort=$slurmd_port
SlurmUser=slurm
AuthType=auth/munge
AuthInfo=socket=$folder/run/munge.socket
AuthAltTypes=auth/jwt
AuthAltParameters=jwt_key=$folder/etc/jwt.key
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/run/slurmctld.pid
SlurmdPidFile=$folder/run/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld
SlurmdLogFile=$folder/log/slurmd
# What the machine does not allow: cgroups, and limits above its own.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
PropagateResourceLimits=NONE
SlurmdParameters=config_overrides
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
EnforcePartLimits=ALL
MinJobAge=$min_job_age
KillWait=3
SlurmctldTimeout=10
SchedulerParameters=batch_sched_delay=1,sched_interval=5,bf_interval=5
GresTypes=gpu
$storage
NodeName=worker NodeHostname=$(hostname) NodeAddr=127.0.0.1 CPUs=8 RealMemory=8000 TmpDisk=8000 Gres=gpu:2 Feature=avx2
PartitionName=cpu Nodes=worker Default=YES DefaultTime=10 MaxTime=1440 DefMemPerCPU=100
PartitionName=booster Nodes=worker DefaultTime=10 MaxTime=120 DefMemPerCPU=100
CONFIGURATION

printf 'CgroupPlugin=disabled\n' >"$folder/etc/cgroup.conf"
# A GPU is a file to Slurm; these two are always there.
printf 'NodeName=worker Name=gpu File=/dev/%s\n' zero null >"$folder/etc/gres.conf"

cat >"$folder/etc/slurmdbd.conf" <<CONFIGURATION
AuthType=auth/munge
AuthInfo=socket=$folder/run/munge.socket
AuthAltTypes=auth/jwt
AuthAltParameters=jwt_key=$folder/etc/jwt.key
DbdHost=$(hostname)
DbdAddr=127.0.0.1
DbdPort=$dbd_port
SlurmUser=slurm
PidFile=$folder/run/slurmdbd.pid
LogFile=$folder/log/slurmdbd
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StorageLoc=slurm
CONFIGURATION

cat >"$folder/etc/sshd_config" <<CONFIGURATION
Port $login_port
ListenAddress 127.0.0.1
HostKey $folder/etc/ssh_host_key
AuthorizedKeysFile $folder/etc/authorized_keys
PidFile $folder/run/sshd.pid
AllowUsers $physicist
PasswordAuthentication no
KbdInteractiveAuthentication no
# The folder of the cluster may be in /tmp.
StrictModes no
UsePAM no
SetEnv SLURM_CONF=$folder/etc/slurm.conf
CONFIGURATION
