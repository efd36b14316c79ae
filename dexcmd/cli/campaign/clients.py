"""Clients for the accounts of a campaign, each with the account's own token."""

from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from dexcmd.campaign.spec import AccountSpec, CampaignSpec
from dexcmd.cli.access import base_url_of, token_of
from dexcmd.cli.common import Common
from dexcmd.cli.texts import TOKEN_VARIABLE
from dexcmd.client import DexClient
from dexcmd.errors import ConfigurationError
from dexcmd.events import Event

__all__ = ["Clients"]


@attrs.frozen
class Clients:
    """Creates the client of an account."""

    common: Common
    environment: Mapping[str, str]
    on_event: Callable[[Event], object] | None = None

    def __call__(self, account: AccountSpec) -> DexClient:
        """Return a client.  Raises `ConfigurationError` if there is no token for the account."""
        return DexClient(
            api_token=token_of(account.token_env, self._file(account), self.environment, f" for {account.name}"),
            account_id=account.account_id,
            base_url=base_url_of(self.common, self.environment),
            on_event=self.on_event,
        )

    def check(self, spec: CampaignSpec) -> None:
        """Raise `ConfigurationError` for an invalid base URL, or an option that would have no effect."""
        base_url_of(self.common, self.environment)
        chosen = self.common.account
        if chosen is not None and chosen not in [account.account_id for account in spec.accounts]:
            raise ConfigurationError(f"the campaign {spec.name} names its accounts, and {chosen} is none of them")
        if self.common.token_file is not None and not any(map(self._file, spec.accounts)):
            raise ConfigurationError(
                f"--token-file stands for {TOKEN_VARIABLE}, and each account of {spec.name} has a token_env of its own"
            )

    def _file(self, account: AccountSpec) -> Path | None:
        return self.common.token_file if account.token_env == TOKEN_VARIABLE else None
