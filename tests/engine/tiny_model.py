"""Makes a language model of random weights: it speaks, fast, and says nothing. The same file each time.

    python tiny_model.py FILE.gguf

It reads bytes, one token each, and says words. The first dimension of each embedding is a constant that the output layer reads as a bias: words
far over bytes, the end of the answer a little over a single word, so that answers are some dozens of words long. The second tells bytes from words:
right after the prompt no answer ends.
"""

import sys

import gguf
import numpy as np

SEED = 7
WIDTH, HIDDEN, HEADS, LAYERS, CONTEXT = 64, 128, 4, 2, 32768
# What the constant adds to the logits, roughly: bytes are never said.
CONSTANT = 8.0
WORD, BYTE, END = 1.0, -4.0, 1.42

WORDS = """a again all already always and answer any as ask away back because before behind better between bird bread bring brown but by can
candle carry chair child city cloud coat coffee cold come could day deep door down each early east egg end evening every far fire first fish flower
for forest friend from garden give glass go gold good grass green ground hand happen harbour hat hear hearth her here high hill his hold home honey
horse hour house how if ink into iron island it keep kettle kind lamp last late leaf learn letter light like listen little long look lost many map
maybe milk mirror moon more morning mountain music name near never new night no north not nothing now number ocean of often old on once one only
open or orange other our out over paper path pear people piano picture plain please pocket poem quiet rain read red remember ribbon river road
roof room round salt say sea see seven shadow ship shoe shore side silver since sister sleep slow small snow so soft some song soon south speak
spoon spring star stay still stone story street summer sun table tall tea tell ten that the then there they thing think this three time to today
together tomorrow tower town train tree two under until very village voice wait walk wall warm water we well west what wheel when where which while
white who why wide wind window winter with without wolf wood word work world write year yellow yes yesterday you Grüße Straße café naïve señor
čaj zażółć москва чай λόγος 東京 お茶 🙂 🔥""".split()


def vocabulary():
    kind = gguf.TokenType
    tokens = [("<unk>", kind.UNKNOWN), ("<s>", kind.CONTROL), ("</s>", kind.CONTROL)]
    tokens += [(f"<0x{byte:02X}>", kind.BYTE) for byte in range(256)]
    tokens += [(f"\u2581{word}", kind.NORMAL) for word in WORDS]
    return tokens


def main(path):
    tokens = vocabulary()
    count, words = len(tokens), len(WORDS)
    random = np.random.default_rng(SEED)

    def weights(*shape, scale):
        return (random.standard_normal(shape) * scale).astype(np.float32)

    embedding = weights(count, WIDTH, scale=1.0)
    embedding[:, 0] = CONSTANT
    embedding[:, 1] = 0
    embedding[: count - words, 1] = CONSTANT
    output = weights(count, WIDTH, scale=0.2)
    output[:, 0] = WORD
    output[: count - words, 0] = BYTE
    output[:, 1] = 0
    output[2] = 0
    output[2, :2] = END, BYTE
    plain = np.ones(WIDTH, np.float32)

    model = gguf.GGUFWriter(path, "llama")
    model.add_name("tiny")
    model.add_context_length(CONTEXT)
    model.add_embedding_length(WIDTH)
    model.add_block_count(LAYERS)
    model.add_feed_forward_length(HIDDEN)
    model.add_head_count(HEADS)
    model.add_head_count_kv(HEADS)
    model.add_layer_norm_rms_eps(1e-5)
    model.add_rope_dimension_count(WIDTH // HEADS)
    model.add_vocab_size(count)
    model.add_file_type(gguf.LlamaFileType.ALL_F32)
    model.add_tokenizer_model("llama")
    model.add_tokenizer_pre("default")
    model.add_token_list([text for text, _ in tokens])
    model.add_token_types([kind for _, kind in tokens])
    model.add_token_scores([0.0] * (count - words) + [-1.0] * words)
    model.add_unk_token_id(0)
    model.add_bos_token_id(1)
    model.add_eos_token_id(2)
    model.add_add_bos_token(True)
    model.add_add_space_prefix(False)
    model.add_chat_template("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:")
    model.add_tensor("token_embd.weight", embedding)
    model.add_tensor("output_norm.weight", plain)
    model.add_tensor("output.weight", output)
    for layer in range(LAYERS):
        name = f"blk.{layer}"
        model.add_tensor(f"{name}.attn_norm.weight", plain)
        model.add_tensor(f"{name}.ffn_norm.weight", plain)
        for part in ("attn_q", "attn_k", "attn_v"):
            model.add_tensor(f"{name}.{part}.weight", weights(WIDTH, WIDTH, scale=0.1))
        # What a layer adds leaves both alone.
        back = weights(WIDTH, WIDTH, scale=0.1)
        back[:2] = 0
        model.add_tensor(f"{name}.attn_output.weight", back)
        model.add_tensor(f"{name}.ffn_gate.weight", weights(HIDDEN, WIDTH, scale=0.1))
        model.add_tensor(f"{name}.ffn_up.weight", weights(HIDDEN, WIDTH, scale=0.1))
        back = weights(WIDTH, HIDDEN, scale=0.1)
        back[:2] = 0
        model.add_tensor(f"{name}.ffn_down.weight", back)
    model.write_header_to_file()
    model.write_kv_data_to_file()
    model.write_tensors_to_file()
    model.close()


if __name__ == "__main__":
    main(sys.argv[1])
