"""What training adds to the generated C of products and poolings: batches, gates for the way back, trained biases."""

from __future__ import annotations

INFERENCE = dict.fromkeys(("arguments", "counters", "images", "origin", "winner", "winners", "keep", "keeps"), "")
INFERENCE |= {"in": "in", "gate": "", "gates": ""}
TRAINING = {
    "arguments": ", int32_t count,\n    uint8_t *gates",
    "counters": ", n",
    "images": "        for (n = 0; n < count; n++)\n",
    "origin": "n * step->out_h * step->out_w * step->out_c + ",
    "in": "in + n * step->in_h * step->in_w * step->in_c",
    "winner": ", winner = 0",
    "winners": ", winner[8] = {0}",
    "keep": "\n                            winner = i * step->pool_w + j;",
    "keeps": "\n                                winner[at] = i * step->pool_w + (across == 2 ? 0 : j + (k >> 2));",
    "gate": "\n                if (gates != NULL)\n                    gates[place] = gate_of(step, largest, winner);",
    "gates": "\n                    if (gates != NULL) gates[place] = gate_of(step, sum, winner[k]);",
}
POOL_GATE = "\n                if (gates != NULL)\n                    gates[place] = gate_of(step, total, 0);"
GATE = """\
/* What the way back has to know of a sum. */
static uint8_t gate(int32_t sum, int relu, int shift, int32_t limit)
{
    const int32_t kept = sum < 0 && relu ? 0 : sum, size = kept < 0 ? -kept : kept;
    const int is_clipped = limit != 0 && size > 0 && (size - 1) >> shift >= limit;
    return (uint8_t)((!relu || sum > 0 ? WAGE_OPEN : 0) | (is_clipped ? WAGE_CLIPPED : 0));
}

/* The same, and of its place in the pooling's window. */
static uint8_t gate_of(const struct step *step, int32_t sum, int32_t place)
{
    return (uint8_t)(gate(sum, step->relu, step->shift, step->limit) + place * WAGE_PLACE);
}
"""
BIAS = """\
/* What is added to a filter's sums: numbers of the export's, or stored ones. */
static int32_t bias_of(const wage_network *network, const struct step *step, int32_t filter)
{
    if (step->bias != NULL)
        return step->bias[filter];
    return step->stored_bias < 0 ? 0 : network->biases[step->stored_bias + filter] * step->bias_scale;
}
"""
