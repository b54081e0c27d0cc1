#!/usr/bin/env bash
# A real Slurm of one node on this machine, for tests: munged, slurmctld and slurmd, which listen on
# 127.0.0.1 only and keep everything in one folder.
#
#   eval "$(scripts/slurm.sh start [FOLDER])"   # then sbatch, squeue, sinfo ... talk to it
#   scripts/slurm.sh status [FOLDER]            # exit code 0 when the node takes jobs
#   scripts/slurm.sh stop [FOLDER]              # cancels its jobs and ends what start started
#
# FOLDER: a new temporary one for start; for the others $VOLTALOOP_SLURM_FOLDER, which start exports.
# Needs Debian's packages slurm-wlm and munge, and root: a Slurm of another user cannot start jobs.
set -euo pipefail

readonly PROGRAMS=(munged slurmctld slurmd sinfo squeue scancel)
readonly START_LIMIT_S=30 JOBS_LIMIT_S=20 STOP_LIMIT_S=10
PATH=$PATH:/usr/sbin:/sbin

say() { printf '%s\n' "$*" >&2; }

die() {
  say "slurm.sh: $*"
  exit 1
}

check_machine() {
  local program
  for program in "${PROGRAMS[@]}"; do
    command -v "$program" >/dev/null ||
      die "'$program' is not installed. Install it with: apt-get install slurm-wlm munge"
  done
  [ "$(id -u)" -eq 0 ] || die "expected to run as root, because slurmd starts jobs; this is user" \
    "'$(id -un)'. Run it with sudo or in a container."
}

free_port() { # FROM: the first port from there on that nobody listens on
  local port=$1
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
  echo "$port"
}

write_configuration() { # FOLDER
  local folder=$1 user controller_port node_port memory_MB
  user=$(id -un)
  controller_port=$(free_port 26817)
  node_port=$(free_port $((controller_port + 1)))
  memory_MB=$(awk '/MemTotal/ { print int($2 / 1024 * 0.9) }' /proc/meminfo)
  # Jobs are forgotten after two seconds, as on busy clusters, so that tests meet that too.
  cat >"$folder/slurm.conf" <<CONF
ClusterName=voltaloop
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$controller_port
SlurmdPort=$node_port
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pidfile
SlurmdPidFile=$folder/slurmd.pidfile
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_min_interval=100000,bf_interval=1
ReturnToService=2
MpiDefault=none
MailProg=/bin/true
KillWait=2
MinJobAge=2
NodeName=localhost NodeAddr=127.0.0.1 CPUs=$(getconf _NPROCESSORS_ONLN) RealMemory=$memory_MB State=UNKNOWN
PartitionName=debug Nodes=localhost Default=YES MaxTime=INFINITE State=UP
CONF
  rm -f "$folder/cgroup.conf"
  # From 23.02 on, slurmd looks for control groups unless told not to, and containers have none.
  if [ "$(slurmd -V | sed 's/^[^0-9]*\([0-9]*\).*/\1/')" -ge 23 ]; then
    echo "CgroupPlugin=disabled" >"$folder/cgroup.conf"
  fi
}

launch() { # FOLDER NAME COMMAND...: in a session of its own, with its pid in NAME.pid
  local folder=$1 name=$2
  shift 2
  setsid "$@" </dev/null >>"$folder/$name.out" 2>&1 &
  echo $! >"$folder/$name.pid"
}

running() { # FOLDER NAME: whether the process that start started is still there
  local pid
  pid=$(cat "$1/$2.pid" 2>/dev/null) || return 1
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ]
}

wait_for() { # SECONDS COMMAND...
  local until=$((SECONDS + $1))
  shift
  while ! "$@"; do
    [ "$SECONDS" -lt "$until" ] || return 1
    sleep 0.1
  done
}

give_up() { # FOLDER WHAT
  local log
  say "slurm.sh: $2 did not come up within $START_LIMIT_S s. The last lines of its logs:"
  for log in "$1"/{munged,slurmctld,slurmd}.{out,log}; do
    [ -s "$log" ] && { say "== $log" && tail -n 5 "$log" >&2; }
  done
  end_daemons "$1"
  exit 1
}

node_ready() { [ "$(sinfo --noheader --format=%T 2>/dev/null)" = idle ]; }
node_settled() { ! running "$1" slurmctld || ! running "$1" slurmd || node_ready; } # FOLDER
no_jobs() { [ -z "$(squeue --noheader 2>/dev/null)" ]; }
gone() { ! running "$@"; }

start() { # [FOLDER]
  local folder=${1:-}
  check_machine
  if [ -z "$folder" ]; then
    folder=$(mktemp --directory --tmpdir voltaloop-slurm.XXXXXX)
  fi
  mkdir -p "$folder"
  folder=$(cd "$folder" && pwd -P)
  running "$folder" slurmctld && die "a Slurm of the folder $folder runs already"
  chmod 755 "$folder" # munge refuses a socket that others cannot reach
  mkdir -p "$folder"/{munge,state,spool}
  chmod 755 "$folder/munge"
  head -c 1024 /dev/urandom >"$folder/munge/key"
  chmod 600 "$folder/munge/key"
  write_configuration "$folder"
  export SLURM_CONF=$folder/slurm.conf
  launch "$folder" munged munged --foreground --force --num-threads=2 \
    --key-file="$folder/munge/key" --socket="$folder/munge/socket" \
    --pid-file="$folder/munge/pidfile" --seed-file="$folder/munge/seed"
  wait_for "$START_LIMIT_S" test -S "$folder/munge/socket" || give_up "$folder" munged
  launch "$folder" slurmctld slurmctld -D -c -f "$SLURM_CONF"
  launch "$folder" slurmd slurmd -D -c -N localhost -f "$SLURM_CONF"
  wait_for "$START_LIMIT_S" node_settled "$folder" || give_up "$folder" "the node"
  node_ready || give_up "$folder" "slurmctld or slurmd"
  say "slurm.sh: Slurm runs, with its files in $folder"
  printf 'export SLURM_CONF=%q\nexport VOLTALOOP_SLURM_FOLDER=%q\n' "$SLURM_CONF" "$folder"
}

end_daemon() { # FOLDER NAME
  running "$@" || return 0
  kill "$(cat "$1/$2.pid")"
  if ! wait_for "$STOP_LIMIT_S" gone "$@"; then
    say "slurm.sh: $2 did not end within $STOP_LIMIT_S s and is killed"
    kill -KILL "$(cat "$1/$2.pid")"
  fi
}

end_daemons() { # FOLDER
  local name
  for name in slurmd slurmctld munged; do
    end_daemon "$1" "$name"
    rm -f "$1/$name.pid"
  done
}

known_folder() { # [FOLDER]
  local folder=${1:-${VOLTALOOP_SLURM_FOLDER:-}}
  [ -n "$folder" ] || die "which folder? Name it, or eval what start printed"
  [ -f "$folder/slurm.conf" ] || die "expected a folder that start made, got '$folder'"
  (cd "$folder" && pwd -P)
}

stop() { # [FOLDER]
  local folder
  folder=$(known_folder "$@")
  export SLURM_CONF=$folder/slurm.conf
  if running "$folder" slurmctld; then
    scancel --user="$(id -un)" || true # none is left, or it is too late to ask
    wait_for "$JOBS_LIMIT_S" no_jobs || say "slurm.sh: jobs are left after $JOBS_LIMIT_S s"
  fi
  end_daemons "$folder"
  say "slurm.sh: stopped; its files are still in $folder"
}

status() { # [FOLDER]
  local folder name
  folder=$(known_folder "$@")
  export SLURM_CONF=$folder/slurm.conf
  for name in munged slurmctld slurmd; do
    running "$folder" "$name" || die "$name does not run"
  done
  sinfo
  squeue
}

case ${1:-} in
  start | stop | status) "$@" ;;
  *) die "expected start, stop or status and an optional folder, got '${*:-nothing}'" ;;
esac
