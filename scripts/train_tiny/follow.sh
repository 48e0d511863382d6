#!/bin/bash
# Wait for a run of run.sh, at most SECONDS, and copy its newest weights: follow.sh WORK SECONDS TO
work=$1 seconds=$2 to=$3
for ((waited = 0; waited < seconds; waited += 2)); do
  [ -e "$work/train.done" ] && break
  sleep 2
done
tail -n 3 "$work/joe.log" "$work/kokoro.log"
tail -n 12 "$work/train.log"
newest=$(ls -t "$work"/out/*.0.safetensors 2> /dev/null | head -n 1)
[ -n "$newest" ] && cp "${newest%.0.safetensors}".*.safetensors "$to"/
for log in train kokoro joe; do cp "$work/$log.log" "$to/$log.log"; done
