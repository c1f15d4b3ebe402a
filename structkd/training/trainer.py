"""Training: a `transformers.Trainer` whose loss is an objective on the student's distribution."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from structkd.crf import LinearChainCRF
from structkd.errors import DataError
from structkd.knowledge import gold_targets
from structkd.objective import Annealing, Lesson, Objective, conflict, divergence, loss, nll
from structkd.storage import seal
from structkd.tagger import CRFTagger, Tagger
from structkd.training.checkpoints import newest_checkpoint
from structkd.training.examples import UNKNOWN, Collator, Examples
from structkd.training.sampling import LengthBatches
from structkd.training.settings import TrainingSettings, learning_rate_factor, make_optimizer

DIVERGENCE_STEPS = 5  # the divergence costs a forward pass of the chain: every fifth step tells enough

Progress = Callable[[int, int, float | None], None]
"""Called with the steps done, the steps in all, and the last logged loss in nats a sentence."""


class TaggerTrainer(Trainer):
    """Trains a `CRFTagger` by an objective.

    The loss is the mean over the sentences (or words) of the optimiser step, over all micro-batches and processes: a
    mean of micro-batch means would weigh a sentence by the size of its batch.
    """

    def __init__(
        self,
        tagger: Tagger,
        examples: Examples,
        args: TrainingArguments,
        settings: TrainingSettings,
        *,
        objective: Objective,
        annealing: Annealing,
        temperature: float,
        **kwargs: Any,
    ) -> None:
        collator = Collator(tagger.batcher, len(tagger.labels), objective)
        super().__init__(model=tagger.model, args=args, train_dataset=examples, data_collator=collator, **kwargs)
        self.tagger = tagger
        self.examples = examples
        self.settings = settings
        self.objective: Objective = objective
        self.annealing = annealing
        self.temperature = temperature
        self.divergences: list[Tensor] = []  # of the batches since the last entry of the log
        # The loss below is already a mean over the whole step; Trainer must not divide it again.
        self.model_accepts_loss_kwargs = True
        self.remove_callback(PrinterCallback)

    def get_train_dataloader(self) -> DataLoader:
        examples = self.examples
        batches = LengthBatches(
            [len(example.words) for example in examples.items],
            [example.language for example in examples.items],
            self.settings.batch_size,
            seed=self.args.seed,
            batch_tokens=self.settings.batch_tokens,
            balance_exponent=self.settings.balance_exponent,
            processes=self.args.world_size,
        )
        loader = DataLoader(examples, batch_sampler=batches, collate_fn=self.data_collator)
        return self.accelerator.prepare(loader)

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            self.optimizer = make_optimizer(self.tagger.model, self.settings)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> LRScheduler:
        if self.lr_scheduler is None:
            factor = partial(learning_rate_factor, total=num_training_steps, settings=self.settings)
            self.lr_scheduler = LambdaLR(optimizer or self.create_optimizer(), factor)
        return self.lr_scheduler

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: torch.device) -> Tensor:
        total = torch.stack([self._size(batch) for batch in batch_samples]).sum().to(device)
        return self.accelerator.gather(total).sum() if self.args.world_size > 1 else total

    def _size(self, batch: dict[str, Any]) -> Tensor:
        """What a batch counts in the mean: its sentences or its words."""
        mask = batch["inputs"]["mask"]
        return mask.sum() if self.settings.reduction == "tokens" else torch.tensor(len(mask), device=mask.device)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        output = model(**inputs["inputs"], output_marginals=False)
        inner = self.accelerator.unwrap_model(model)
        assert isinstance(inner, CRFTagger)
        student = inner.distribution(output)
        tags = inputs["tags"]
        has_gold = tags[:, 0] != UNKNOWN
        lesson: Lesson | None = inputs["lesson"].to(tags.device) if "lesson" in inputs else None
        share = self.annealing(
            self.state.global_step / max(self.state.max_steps, 1), max(self.state.num_train_epochs, 1)
        )
        gold_weight = has_gold.to(torch.float32)
        if lesson is not None:
            gold_weight = torch.where(has_gold & lesson.known, 1.0 - share, gold_weight)
        losses = loss(student, tags, lesson, self.objective, gold_weight, temperature=self.temperature)
        if "allowed" in inputs:
            # Tags known in part: the likelihood of all taggings that agree; 0 where nothing is said.
            losses = losses - student.log_prob_partial(inputs["allowed"])
        total = losses.sum()
        if not torch.isfinite(total):
            raise DataError(self._diagnosis(student, tags, lesson, losses, inputs["ids"]))
        if lesson is not None and self.state.global_step % DIVERGENCE_STEPS == 0:
            found = divergence(student, lesson, self.objective, temperature=self.temperature)
            if found is not None:
                self.divergences.append(found)
        # DistributedDataParallel averages gradients over processes; the count is of all of them.
        value = total / (self._size(inputs) if num_items_in_batch is None else num_items_in_batch)
        value = value * self.args.world_size
        return (value, output) if return_outputs else value

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if self.divergences and "loss" in logs:
            found = torch.cat(self.divergences)
            self.divergences.clear()
            found = found[~found.isnan()]
            if len(found):
                logs["kl"] = float(found.mean())
        super().log(logs, start_time)

    def _diagnosis(
        self, student: LinearChainCRF, tags: Tensor, lesson: Lesson | None, losses: Tensor, ids: list[str]
    ) -> str:
        """Which sentences have no finite loss, and what is asked of the student that it forbids."""
        told, names = [], self.tagger.labels.tags
        wanted = [gold_targets(tags, len(names))]
        if lesson is not None and lesson.targets is not None:
            wanted.append(lesson.targets)
        for row, value in enumerate(losses.tolist()):
            if abs(value) < 1e30:  # false for NaN
                continue
            why = next((why for targets in wanted if (why := conflict(student, targets, row, names))), None)
            told.append(f"{ids[row]} ({value}{f': it asks for {why}, which the student forbids' if why else ''})")
        return f"the loss of sentence {', '.join(told[:5])} is not finite: has it a legal tag sequence?"

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            # Written last: a checkpoint that was cut off has no manifest and is not resumed from.
            seal(Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}")


class _Reporter(TrainerCallback):
    """Reports progress at each step, and a development score at the end of each epoch."""

    def __init__(self, progress: Progress | None, dev_score: Callable[[], float] | None) -> None:
        self.progress = progress
        self.dev_score = dev_score

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.progress is not None:
            losses = [entry["loss"] for entry in state.log_history[-2:] if "loss" in entry]
            self.progress(state.global_step, state.max_steps, losses[-1] if losses else None)

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.dev_score is not None:
            state.log_history.append({"step": state.global_step, "epoch": state.epoch, "dev": self.dev_score()})


def train(
    tagger: Tagger,
    examples: Examples,
    settings: TrainingSettings,
    directory: Path,
    *,
    seed: int,
    objective: Objective | None = None,
    annealing: Annealing | None = None,
    temperature: float = 1.0,
    device: str | None = None,
    progress: Progress | None = None,
    dev_score: Callable[[], float] | None = None,
) -> list[dict[str, Any]]:
    """Train a tagger in place, going on from the newest intact checkpoint in `directory` if there is one.

    Args:
        tagger: made with the same seed in every call, so that a run that goes on equals one that was not cut off.
        directory: of the checkpoints; the caller removes it once the model is saved.
        objective: of distillation; None: gold tags only.
        dev_score: called at the end of each epoch, in percent.

    Returns:
        The history: rows with `step`, `epoch` and `loss` (nats a sentence or word), `kl` from the teachers where it
        is defined (nats a sentence, of every fifth step), `learning_rate` or `dev`.

    Raises:
        DataError: a sentence whose loss is not finite, by name.
    """
    args = TrainingArguments(
        output_dir=str(directory),
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        max_grad_norm=settings.gradient_clip,
        bf16=settings.precision == "bf16",
        use_cpu=device == "cpu",
        seed=seed,
        save_strategy="steps" if settings.checkpoint_steps else "epoch",
        save_steps=settings.checkpoint_steps or 500,
        save_total_limit=2,
        logging_strategy="steps",
        logging_steps=20,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to=[],
        dataloader_pin_memory=False,
    )
    trainer = TaggerTrainer(
        tagger,
        examples,
        args,
        settings,
        objective=objective or nll(),
        annealing=annealing or Annealing(),
        temperature=temperature,
        callbacks=[_Reporter(progress, dev_score)],
    )
    checkpoint = newest_checkpoint(directory)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    tagger.model.eval()
    keep = ("step", "epoch", "loss", "kl", "learning_rate", "dev")
    return [
        {name: entry[name] for name in keep if name in entry}
        for entry in trainer.state.log_history
        if "loss" in entry or "dev" in entry
    ]
