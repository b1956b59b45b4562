"""A model that counts down: a prompt that ends in <9> is answered by <8><7>…<1>, and there it ends.

Its layers are random and do all the work that layers do, but each token is embedded so far from the
others that the last one decides the next. So a prompt decides how long its answer is, every engine
gives the same one at temperature 0, and no request needs settings of its own.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))

import tiny_model

CHAT_TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"


def make(folder: Path, hidden: int, layers: int, longest: int) -> int:
    """Save the model; its number of parameters.

    Args:
        folder: of the weights, configuration and tokenizer.
        hidden: width; a multiple of 32.
        layers: depth.
        longest: the highest number that it can count down from.
    """
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    tiny_model.make(folder, hidden, layers)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    first = len(tokenizer)
    tokenizer.add_tokens([counter(number) for number in range(1, longest + 1)])
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)

    config = Qwen2Config.from_pretrained(folder)
    config.vocab_size = len(tokenizer)
    config.tie_word_embeddings = False
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(config)
    counters = torch.arange(first, len(tokenizer))
    with torch.no_grad():
        embeddings, head = model.model.embed_tokens.weight, model.lm_head.weight
        embeddings.normal_()
        head.zero_()
        head[counters[:-1]] = embeddings[counters[1:]]
        head[config.eos_token_id] = embeddings[first]
    model.save_pretrained(folder)
    return sum(weights.numel() for weights in model.parameters())


def counter(number: int) -> str:
    """The end of a prompt whose answer has so many tokens."""
    return f"<{number}>"


if __name__ == "__main__":
    print(make(Path(sys.argv[1]), *map(int, sys.argv[2:])))
