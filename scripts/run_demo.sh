#!/usr/bin/env bash
# From nothing to a trained, evaluated and exported detector on drawn images, in two to eight minutes.
# Arguments are flags of train.py, eval.py and export.py, e.g. --backbone=resnet18.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup.sh --cpu

data=data/shapes
output=output/demo-$(date +%Y%m%d-%H%M%S)  # a folder of its own: nothing is overwritten
started=$SECONDS
run() { "$PYTHON" "$1" --config_path=config/ssd_resnet50_fpn_demo.yaml "${@:2}"; }

echo "== data set: $data"
"$PYTHON" -m src.data.synthetic "$data"
echo "== training"
run train.py "$@" --output_path="$output"
echo "== evaluation"
run eval.py "$@" --output_path="$output" --checkpoint_path="$output/ckpt/best.ckpt"
echo "== export"
run export.py "$@" --checkpoint_path="$output/ckpt/best.ckpt" --file_name="$output/detector"

cat <<EOF

done in $(( (SECONDS - started) / 60 )) min $(( (SECONDS - started) % 60 )) s
  checkpoint   $output/ckpt/best.ckpt
  log          $output/log.txt, $output/metrics.jsonl
  detections   $output/detections.json
  report       $output/report/report.html
  exported     $(ls "$output"/detector.* | tr '\n' ' ')

Detect, here in the held-out images:
  $PYTHON predict.py --checkpoint_path=$output/ckpt/best.ckpt --input=$data/val2017 --output=$output/predictions
EOF
