"""Writes tests/cases/sampling/{rules,beams}.json: what transformers' logits processors and beam search compute.

Run where torch and transformers are installed: python3 tools/reference/sampling.py OUTPUT_FOLDER
"""

import json
import math
import pathlib
import sys

import torch
import transformers
from transformers import GenerationConfig, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.generation import logits_process as processors
from transformers.modeling_outputs import CausalLMOutput

torch.manual_seed(20)


def rounded(tensor):
    return [round(float(x), 3) if math.isfinite(x) else None for x in tensor]


def rules():
    """Fixed scores through lists of processors, in the order of generate(); None stands for minus infinity."""
    settings = [
        {}, {"repetition_penalty": 1.3}, {"repetition_penalty": 0.7}, {"no_repeat_ngram_size": 2}, {"no_repeat_ngram_size": 3},
        {"no_repeat_ngram_size": 1}, {"suppress_tokens": [1, 5]}, {"begin_suppress_tokens": [2]}, {"min_new_tokens": 2, "eos_ids": [3, 4]},
        {"temperature": 0.6}, {"temperature": 1.8}, {"top_k": 1}, {"top_k": 5}, {"top_k": 1000}, {"top_p": 0.9}, {"top_p": 0.5},
        {"top_p": 0.01}, {"top_p": 0.0}, {"min_p": 0.1}, {"min_p": 0.6}, {"min_p": 1.0}, {"temperature": 0.7, "top_k": 10, "top_p": 0.8},
        {"repetition_penalty": 1.2, "temperature": 1.5, "top_k": 20, "top_p": 0.95, "min_p": 0.05, "no_repeat_ngram_size": 2},
    ]
    cases = []
    for index, setting in enumerate(settings):
        for prompt, generated in (([3, 7, 3, 9, 7], []), ([3, 7, 11], [3, 7, 5, 3]), ([], [2, 2])):
            size = 24
            scores = torch.round(torch.randn(1, size) * 3 * 1000) / 1000
            if index % 3 == 0:
                scores[0, 6] = scores[0, 8]  # a tie
            before = scores.clone()
            ids = torch.tensor([prompt + generated])
            steps = []
            if "repetition_penalty" in setting:
                steps.append(processors.RepetitionPenaltyLogitsProcessor(setting["repetition_penalty"]))
            if "no_repeat_ngram_size" in setting:
                steps.append(processors.NoRepeatNGramLogitsProcessor(setting["no_repeat_ngram_size"]))
            if "min_new_tokens" in setting:
                steps.append(processors.MinNewTokensLengthLogitsProcessor(len(prompt), setting["min_new_tokens"], setting["eos_ids"]))
            if "suppress_tokens" in setting:
                steps.append(processors.SuppressTokensLogitsProcessor(setting["suppress_tokens"]))
            if "begin_suppress_tokens" in setting:
                steps.append(processors.SuppressTokensAtBeginLogitsProcessor(setting["begin_suppress_tokens"], len(prompt)))
            if "temperature" in setting:
                steps.append(processors.TemperatureLogitsWarper(setting["temperature"]))
            if "top_k" in setting:
                steps.append(processors.TopKLogitsWarper(setting["top_k"]))
            if "top_p" in setting:
                steps.append(processors.TopPLogitsWarper(setting["top_p"]))
            if "min_p" in setting:
                steps.append(processors.MinPLogitsWarper(setting["min_p"]))
            for step in steps:
                scores = step(ids, scores)
            cases.append({"options": setting, "prompt": prompt, "generated": generated, "scores": rounded(before[0]),
                          "expected": [float(f"{x:.7g}") if math.isfinite(x) else None for x in scores[0].tolist()]})
    return {"cases": cases}


class TableConfig(PretrainedConfig):
    model_type = "table"

    def __init__(self, vocab_size=9, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size


class TableModel(PreTrainedModel, GenerationMixin):
    """Next-token logits = last[the last token] + before[the one before it]."""

    config_class = TableConfig

    def __init__(self, config, last, before):
        super().__init__(config)
        self.unused = torch.nn.Parameter(torch.zeros(1))
        self.last, self.before = last, before

    def forward(self, input_ids, **kwargs):
        previous = torch.cat([input_ids[:, :1], input_ids[:, :-1]], 1)
        return CausalLMOutput(logits=self.last[input_ids] + self.before[previous])

    def prepare_inputs_for_generation(self, input_ids, **kwargs):
        return {"input_ids": input_ids}


def beams():
    size = 9
    tables = []
    for scale in (1.0, 2.5, 4.0):
        tables.append([torch.round(torch.randn(size, size) * scale * 1000) / 1000 for _ in range(2)])
    cases = []
    for table, (last, before) in enumerate(tables):
        model = TableModel(TableConfig(vocab_size=size), last, before)
        for num_beams in (2, 3, 5):
            for early_stopping in (False, True, "never"):
                for length_penalty in (1.0, 0.0, 2.0, -1.0):
                    for more in ({"eos_ids": [8]}, {"eos_ids": [7, 8], "no_repeat_ngram_size": 2}, {"eos_ids": [0], "repetition_penalty": 1.4, "max_new_tokens": 12}):
                        options = {"max_new_tokens": 7, **more}
                        config = GenerationConfig(
                            num_beams=num_beams, num_return_sequences=num_beams, do_sample=False, early_stopping=early_stopping,
                            length_penalty=length_penalty, max_new_tokens=options["max_new_tokens"], eos_token_id=options["eos_ids"], pad_token_id=size,
                            no_repeat_ngram_size=options.get("no_repeat_ngram_size", 0), repetition_penalty=options.get("repetition_penalty", 1.0),
                            return_dict_in_generate=True, output_scores=True, use_cache=False)
                        prompt = [1, 2, 3 + table]
                        with torch.no_grad():
                            result = model.generate(torch.tensor([prompt]), generation_config=config)
                        answers = []
                        for sequence, score in zip(result.sequences.tolist(), result.sequences_scores.tolist()):
                            if score > -1e8:
                                answers.append({"tokens": [t for t in sequence[len(prompt):] if t != size], "score": float(f"{score:.6g}")})
                        cases.append({"table": table, "num_beams": num_beams, "early_stopping": early_stopping, "length_penalty": length_penalty,
                                      **options, "prompt": prompt, "answers": answers})
    return {"vocabulary": size, "tables": [[[rounded(row) for row in part] for part in table] for table in tables], "cases": cases}


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("rules", rules()), ("beams", beams())):
        document = {"reference": f"transformers {transformers.__version__}, torch {torch.__version__}", **content}
        lines = json.dumps(document).replace('{"options"', '\n{"options"').replace('{"table"', '\n{"table"')
        (folder / f"{name}.json").write_text(lines + "\n")
        print(name, len(content["cases"]))


main()
