#!/bin/bash
# Synthesize speech, then train on it: run.sh FILES WORK LANGUAGE UNTIL NAME:GPU:WEIGHTS:OPTIONS...
# FILES has kokoro.onnx styles.npz kokoro-vocab.json joe.json items-LANGUAGE.jsonl.xz, and for en-us joe.onnx.
# A training for each NAME on its GPU, or GPUs as in 0,1, until UNTIL (seconds since 1970); its snapshots and log are in
# WORK/NAME.
# WEIGHTS: a file or pattern; without them the alignment is learned from nothing. OPTIONS are train.py's, e.g.
# "--muon 6e-4 --alpha-from 1", and "mixed" for the speech of random mixtures of voices as well.
# Kokoro speaks on the GPUs that CUDA_VISIBLE_DEVICES names. On a machine without a GPU, SMALL=1 runs a miniature of it.
set -u
trap 'kill $(jobs -p) 2> /dev/null' EXIT
files=$1 work=$2 language=$3 until=$4
shift 4
python=${PYTHON:-python3}
mkdir -p "$work/piper" "$work/kokoro" "$work/mixed"
export OMP_NUM_THREADS=1 TORCHINDUCTOR_CACHE_DIR=$work/inductor TORCHINDUCTOR_COMPILE_THREADS=4 PYTHONUNBUFFERED=1
piper_workers=${PIPER_WORKERS:-10} piper_s=${PIPER_S:-560} mixtures=${MIXTURES:-40}
kokoro_workers=${KOKORO_WORKERS:-6} mixed_workers=${MIXED_WORKERS:-4} kokoro_s=${KOKORO_S:-200}
size=(--until "$until")
if [ -n "${SMALL:-}" ]; then
  piper_workers=1 piper_s=30 kokoro_workers=1 mixed_workers=1 kokoro_s=60 mixtures=1
  size=(--steps 4 --frames 1500 --report 1)
fi
synth="$python -m scripts.train_tiny.synth"
common=(--config "$files/joe.json" --items "$files/items-$language.jsonl.xz")
model=(--model "$files/kokoro.onnx" --styles "$files/styles.npz")

if [ "$language" = en-us ]; then
  voices="af_bella am_michael bm_george am_onyx bf_emma af_bella am_michael bm_george am_onyx bf_emma am_puck bm_fable af_kore"
  nice -n 19 $synth piper --model "$files/joe.onnx" "${common[@]}" --out "$work/piper" --seconds "$piper_s" \
    --workers "$piper_workers" > "$work/piper.log" 2>&1 &
else  # one voice is French; its means with others speak French, too
  voices="ff_siwis ff_siwis ff_siwis ff_siwis ff_siwis+am_michael ff_siwis+bm_george ff_siwis+af_bella ff_siwis+am_onyx"
  mixed_workers=0
fi

kokoro() {  # name, seed, workers and further options
  $synth kokoro "${common[@]}" "${model[@]}" --vocab "$files/kokoro-vocab.json" --out "$work/$1" --seed "$2" \
    --workers "$3" --shard 20 --seconds "$kokoro_s" "${@:4}" > "$work/$1.log" 2>&1
}
all_of_kokoro() {
  kokoro kokoro 2 "$kokoro_workers" --voices $voices &
  if [ "$mixed_workers" -gt 0 ]; then kokoro mixed 3 "$mixed_workers" --mixtures "$mixtures" & fi
  if ! $python -m scripts.train_tiny.check_devices "${model[@]}" > "$work/check.log" 2>&1; then
    echo "Kokoro speaks otherwise on this GPU" | tee "$work/FAILED"
    kill $$  # the trainings would wait for its speech for ever
    exit 1
  fi
  wait
  touch "$work/kokoro.done"
}
all_of_kokoro &

port=29500  # where the processes of a training on several GPUs meet, another one for each training
for training in "$@"; do
  IFS=: read -r name gpu weights more <<< "$training"
  shards=("$work/piper" "$work/kokoro")
  case " $more " in *" mixed "*) shards+=("$work/mixed") more=${more//mixed/} ;; esac
  options=($more)
  if [ -n "$weights" ]; then options+=(--resume "$weights"); fi
  if [ "$language" = en-us ]; then options+=(--reload 0.1 0.35); fi  # Piper goes on speaking
  mkdir -p "$work/$name"
  gpus=(${gpu//,/ }) launch=($python)
  if [ ${#gpus[@]} -gt 1 ]; then launch+=(-m torch.distributed.run --nproc-per-node ${#gpus[@]} --master-port "$port"); fi
  port=$((port + 1))
  CUDA_VISIBLE_DEVICES=$gpu OMP_NUM_THREADS=4 "${launch[@]}" -m scripts.train_tiny.train --language "$language" \
    --shards "${shards[@]}" --out "$work/$name" --wait-for "$work/kokoro.done" --conv plain \
    "${size[@]}" "${options[@]}" --snapshots 0.5 0.75 0.9 > "$work/$name.log" 2>&1 &
  trainings+=($!)
done
wait "${trainings[@]}"
touch "$work/train.done"
wait
