"""transformers' Trainer, made to train in turns with others."""

from __future__ import annotations

import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Semaphore
from typing import Any

import torch
from tokenizers import Tokenizer, models
from torch import Tensor
from torch.utils.data import Dataset
from transformers import (
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from ..config import RunConfig
from ..data import Batches
from ..data.mlm.tokenizer import SPECIAL
from ..training.build import build

_BATCHES = 64  # of texts that it trains on again and again


class TrainerInTurns(TrainerCallback):
    """A Trainer with its usual settings, in a thread of its own that waits after each step.

    A context: leaving it ends the training.
    """

    def __init__(
        self, config: RunConfig, data: Batches, device: torch.device, *, compiled: bool = False, fused: bool = True
    ) -> None:
        """Sets up the training of a run's model, initialized as the run does it, in bf16.

        Args:
            config: The run, whose batch size and recipe are used.
            data: Its data.
            device: Where to train.
            compiled: The Trainer's option ``torch_compile``.
            fused: Whether attention is torch's ``scaled_dot_product_attention``, or written out (``eager``).
        """
        self._asked, self._done = Semaphore(0), Semaphore(0)
        self._ending = False
        self._folder = tempfile.TemporaryDirectory()
        model: Any = build(config, data)[0]
        model.bert.set_attn_implementation("sdpa" if fused else "eager")
        arguments = TrainingArguments(
            output_dir=self._folder.name,
            per_device_train_batch_size=data.batch_size,
            max_steps=1_000_000,
            bf16=True,
            torch_compile=compiled,
            learning_rate=config.optim["lr"],
            weight_decay=config.optim["weight_decay"],
            max_grad_norm=config.train.clip_norm or 1.0,
            use_cpu=device.type == "cpu",
            dataloader_drop_last=True,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        self.trainer = Trainer(
            model=model.bert,
            args=arguments,
            train_dataset=_Texts(data),
            data_collator=DataCollatorForLanguageModeling(_tokenizer(data)),
            callbacks=[self],
        )
        self.trainer.remove_callback(PrinterCallback)

    def __enter__(self) -> TrainerInTurns:
        self._thread = ThreadPoolExecutor(1)
        self._training: Future[Any] = self._thread.submit(self.trainer.train)
        return self

    def __exit__(self, *reason: object) -> None:
        self._ending = True
        self._asked.release()
        self._thread.shutdown()
        self._folder.cleanup()

    def step(self) -> None:
        """Lets the Trainer take one step, the fetching of its batch included.

        Raises:
            Exception: What stopped the Trainer.
            RuntimeError: If it has no steps left.
        """
        self._asked.release()
        while not self._done.acquire(timeout=1):
            if self._training.done():
                self._training.result()
                raise RuntimeError("the Trainer has taken all of its steps")

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Waits for the first turn."""
        self._asked.acquire()

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Waits for the next turn."""
        self._done.release()
        if not self._ending:  # it may end before the first turn, and no other turn comes then
            self._asked.acquire()
        control.should_training_stop = self._ending


class _Texts(Dataset[dict[str, Tensor]]):
    """Texts of the first training batches one by one, as the Trainer wants them."""

    def __init__(self, data: Batches) -> None:
        self._texts = torch.cat([_unmasked(data, step) for step in range(_BATCHES)])

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self._texts[index]}


def _unmasked(data: Batches, step: int) -> Tensor:
    """A training batch with the tokens to guess where they were: int64 [B, T]."""
    (tokens, positions), targets = data.train_batch(step)
    assert isinstance(targets, Tensor)
    return tokens.scatter(1, positions, targets.view_as(positions)).cpu()


def _tokenizer(data: Any) -> PreTrainedTokenizerFast:
    """A tokenizer for the collator, which asks for the ids of special tokens and the size of the vocabulary."""
    entries = [*SPECIAL, *(str(number) for number in range(len(SPECIAL), data.spec.vocabulary))]
    words = Tokenizer(models.WordLevel({entry: number for number, entry in enumerate(entries)}, unk_token="[UNK]"))
    named = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=words, **named)
