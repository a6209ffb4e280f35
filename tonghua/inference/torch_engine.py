"""The engine that computes with PyTorch, on what training computes with."""

from collections.abc import Iterator, Sequence

from ..config.schema import Sampling
from ..core.lora import Adapter
from ..core.model import Decoder
from ..prompt.contract import Contract
from ..prompt.renderer import Renderer
from ..system.device import DevicePlace
from .decode import tokens
from .engine import Engine, Token
from .turns import FairLock


class TorchEngine(Engine):
    """A decoder, and the adapter that an answer is given with or without.

    Engines of one decoder must share `turns`: with it they answer in turn, one token each, every one with its own
    adapter.
    """

    def __init__(
        self,
        decoder: Decoder,
        renderer: Renderer,
        contract: Contract,
        adapter: Adapter | None = None,
        turns: FairLock | None = None,
    ):
        super().__init__(renderer, contract)
        self.decoder, self.adapter, self.turns = decoder, adapter, turns or FairLock()
        decoder.eval()  # turns dropout off
        # One answer multiplies one row at a time, which reads a weight by rows fastest.
        for _, layer in decoder.linears():
            layer.lay_by_rows()

    @property
    def name(self) -> str:
        return f"torch, {DevicePlace(self.decoder.device, self.decoder.dtype)}"

    @property
    def context_tokens(self) -> int:
        return self.decoder.shape.max_positions

    def tokens(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        tuned: bool = True,
        likeliest: int | None = None,
    ) -> Iterator[Token]:
        breakers = self.renderer.breaker_ids()
        coming = tokens(self.decoder, prompts, sampling, self.contract.stop_ids, breakers, likeliest)
        while True:
            with self.turns:
                if self.adapter is not None:
                    self.adapter.attach()  # another engine's adapter may be on the decoder by now
                    self.adapter.enable(tuned)
                found = next(coming, None)
            if found is None:
                return
            yield found
