"""How a trainer saves and shares its adapter."""

from pathlib import Path
from typing import Any

from transformers import Trainer

from ..files import written_whole


class PublishingMixin(Trainer):
    """The methods of [`LeamlTrainer`] that save its adapter, and put it on the Hub with a card."""

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Saves adapter, reliability and processor."""
        folder = output_dir or self.args.output_dir
        with written_whole(Path(folder)) as partial:
            self.processing_class.save_pretrained(partial)
        self.model.save_pretrained(folder)

    def create_model_card(self, license: str | None = None, model_name: str | None = None, **kwargs: Any) -> None:
        """
        Writes LEAML's card into the output folder, where `push_to_hub` takes it from; it writes one itself otherwise.

        Args:
            license (`str`, *optional*): identifier, such as `"apache-2.0"`.
            model_name (`str`, *optional*): on the Hub; defaults to `args.hub_model_id` or the folder's name.
            kwargs: ignored options of [`~transformers.Trainer.create_model_card`].
        """
        from ..hub.cards import write_card

        self.save_model()
        write_card(self.args.output_dir, model_name or self._repo_name, license)

    @property
    def _repo_name(self) -> str:
        return self.args.hub_model_id or Path(self.args.output_dir).absolute().name

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        base: str | None = None,
    ) -> Any:
        """
        Saves, and uploads adapter, reliability, processor, card and code; the figures too, if `leaml_results.json` is
        in the output folder.

        Args:
            commit_message (`str`, *optional*, defaults to `"End of training"`): of the commit.
            blocking (`bool`, *optional*, defaults to `True`): whether to wait for the upload.
            token (`str`, *optional*): defaults to `args.hub_token`, `HF_TOKEN`, or that of `hf auth login`.
            revision (`str`, *optional*): branch; defaults to `args.hub_revision`.
            private (`bool`, *optional*): whether a new repo is private; defaults to `args.hub_private_repo`.
            base (`str`, *optional*): Hub id of the adapter's base, where it is not known by one yet.

        Returns:
            `dict` or `Future`: see [`~leaml_hf.hub.publish.publish`]. The repo is `args.hub_model_id`, by default
                called as the output folder.

        Raises:
            [`LeamlError`]: if the Hub refused, or the upload broke off.
        """
        from huggingface_hub import HfApi

        from ..hub.publish import publish

        args = self.args
        self.save_model()
        given = (
            args.output_dir,
            self._repo_name,
            args.hub_private_repo if private is None else private,
            revision or args.hub_revision,
            token or args.hub_token,
            base,
            commit_message,
        )
        return publish(*given) if blocking else HfApi().run_as_future(publish, *given)
