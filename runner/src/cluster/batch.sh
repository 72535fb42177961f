#!/bin/sh
# One shard of {{study}} per task; written by `microbench submit slurm`. A requeued task resumes the run of its shard.
#SBATCH --job-name="microbench-{{study}}"
#SBATCH --array=1-{{shards}}
#SBATCH --output="{{folder}}/task-%a.log"
#SBATCH --open-mode=append
#SBATCH --requeue
{{#if constraint}}
#SBATCH --constraint="{{constraint}}"
{{/if}}
{{#if exclusive}}
#SBATCH --exclusive
{{/if}}
exec '{{program}}' run --resume '{{prefix}}'"${SLURM_ARRAY_TASK_ID}of{{shards}}" --host {{host}} --project '{{project}}'{{#if allow_unisolated}} --allow-unisolated{{/if}}{{#if trust}} --trust{{/if}}
