"""Ten steps of training on a published dataset: a plain loop, as small as it can be.

python -m tests.train MODEL DATASET

MODEL is a folder whose configuration, tokenizer and template are used; the weights are random.
Prints as JSON, of training on messages and on strings: the loss before each step, always of the
same rows, and the text that is learnt.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

import datasets
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

STEPS, ROWS_PER_SPLIT, IGNORED = 10, 4, -100


def prompt_and_answer(row: Mapping[str, Any], form: str, tokenizer: Any) -> tuple[str, str]:
    """A row as text: what is given, and what is to be learnt."""
    if form == "strings":
        return row["input"], row["output"] + tokenizer.eos_token
    whole = tokenizer.apply_chat_template(row["messages"], tokenize=False)
    prompt = tokenizer.apply_chat_template(
        row["messages"][:1], tokenize=False, add_generation_prompt=True
    )
    assert whole.startswith(prompt)
    return prompt, whole.removeprefix(prompt)


def batch_of(texts: list[tuple[str, str]], tokenizer: Any) -> dict[str, torch.Tensor]:
    """Rows of one length; prompts and padding are not learnt."""
    pairs = [
        [tokenizer(part, add_special_tokens=False)["input_ids"] for part in pair] for pair in texts
    ]
    longest = max(len(prompt) + len(answer) for prompt, answer in pairs)
    tokens = torch.full((len(pairs), longest), tokenizer.pad_token_id)
    labels = torch.full_like(tokens, IGNORED)
    for row, (prompt, answer) in enumerate(pairs):
        end = len(prompt) + len(answer)
        tokens[row, :end] = torch.tensor(prompt + answer)
        labels[row, len(prompt) : end] = torch.tensor(answer)
    return {"input_ids": tokens, "attention_mask": mask_of(tokens, pairs), "labels": labels}


def mask_of(tokens: torch.Tensor, pairs: list[list[list[int]]]) -> torch.Tensor:
    """Ones where a row has tokens."""
    lengths = torch.tensor([len(prompt) + len(answer) for prompt, answer in pairs])
    return (torch.arange(tokens.shape[1]) < lengths[:, None]).long()


def train(config: Any, batch: dict[str, torch.Tensor]) -> list[float]:
    """The losses of ten steps with a new model."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(STEPS):
        loss = model(**batch).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses


def main(folder: str, dataset: str) -> None:
    config, tokenizer = AutoConfig.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    splits = datasets.load_dataset(dataset).values()
    rows = [row for split in splits for row in split.take(ROWS_PER_SPLIT)]
    trained = {}
    for form in ("messages", "strings"):
        texts = [prompt_and_answer(row, form, tokenizer) for row in rows]
        losses = train(config, batch_of(texts, tokenizer))
        trained[form] = {"losses": losses, "learnt": "".join(answer for _, answer in texts)}
    json.dump(trained, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
