"""A chat model of 200,000 random weights, with a tokenizer trained on the spot: real, and useless.

It writes printable ASCII, and short strings, so that what it is made to write as JSON has an end.
The folder ADAPTER in its own is a LoRA adapter of it, also random.

python -m tests.tiny_model FOLDER
"""

import json
import sys
from pathlib import Path

CHAT_TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content or '' }}"
    '{% for call in message.tool_calls or [] %}<tool_call>\n{"name": "{{ call.function.name }}", '
    '"arguments": {{ call.function.arguments | tojson }}}\n</tool_call>{% endfor %}<|im_end|>\n'
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
ADAPTER = "adapter"
PROMPTS = Path(__file__).parents[1] / "prompts"
QUOTE_LOGIT, OTHER_LOGIT = 3.0, -1000.0


def make(folder: Path, hidden: int = 64, layers: int = 2) -> Path:
    """Save the model as the hub would have it: weights, configuration, tokenizer, template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1024, special_tokens=[*SPECIAL], initial_alphabet=alphabet, show_progress=False
    )
    trained.train_from_iterator(map(Path.read_text, sorted(PROMPTS.rglob("*.jinja"))), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trained, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 32,
        max_position_embeddings=4096,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    model = Qwen2ForCausalLM(config)
    tokens = [tokenizer.decode([number]) for number in range(len(tokenizer))]
    written = [is_plain(token) for token in tokens]
    written[tokenizer.eos_token_id] = True
    logits = torch.where(torch.tensor(written), 0.0, OTHER_LOGIT)
    logits[tokens.index('"')] = QUOTE_LOGIT
    with torch.no_grad():  # one dimension is the same whatever was read: it says what is likely
        model.model.embed_tokens.weight[:, 0] = 0.5
        model.lm_head.weight[:, 0] = logits / hidden**0.5
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    adapt(folder / ADAPTER, hidden, layers)
    return folder


def adapt(folder: Path, hidden: int, layers: int, rank: int = 8) -> None:
    """Save an adapter of the value projections, as the library peft does."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir()
    settings = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": ["v_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    weights = {}
    for layer in range(layers):
        name = f"base_model.model.model.layers.{layer}.self_attn.v_proj.lora"
        weights[f"{name}_A.weight"] = torch.randn(rank, hidden)
        weights[f"{name}_B.weight"] = torch.randn(hidden, rank)
    save_file(weights, folder / "adapter_model.safetensors")


def is_plain(token: str) -> bool:
    """Whether it may stand in a JSON string as it is."""
    return token.isascii() and token.isprintable() and token not in SPECIAL and "\\" not in token


if __name__ == "__main__":
    make(Path(sys.argv[1]))
