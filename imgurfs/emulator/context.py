"""What a route works with: the world and the means to write about it.

Also the questions every route asks about its caller. One object per emulator.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from imgurfs.emulator.clock import Clock
from imgurfs.emulator.config import Dialect, EmulatorConfig
from imgurfs.emulator.hosts.call import Call
from imgurfs.emulator.hosts.observations import Observations
from imgurfs.emulator.rules.accounting import Accounting
from imgurfs.emulator.rules.errors import ApiError, not_found_album, not_found_image
from imgurfs.emulator.rules.wire import Writer
from imgurfs.emulator.world.world import Account, Album, Image, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The parts of one emulator."""

    config: EmulatorConfig
    clock: Clock
    world: World
    writer: Writer
    accounting: Accounting
    observations: Observations

    @property
    def is_new(self) -> bool:
        """Whether the newer of the two back-ends is pretended."""
        return self.dialect is Dialect.NEW

    @property
    def dialect(self) -> Dialect:
        """Which back-end is pretended."""
        return self.config.dialect

    # --- Who asks ---

    def require_account(self, call: Call) -> Account:
        """Return the caller's account. Raises ApiError 401 without one."""
        account = self.caller_account(call)
        if account is None:
            raise ApiError(401, "Authentication required")
        return account

    def caller_account(self, call: Call) -> Account | None:
        """Return the account the caller acts for, if any."""
        if call.caller is None or call.caller.account is None:
            return None
        return self.world.account(call.caller.account)

    def writer_for(self, call: Call) -> Writer:
        """Return the writer that knows what the caller has marked."""
        account = self.caller_account(call)
        favorites = account.favorites if account else ()
        return replace(self.writer, favorites=favorites)

    def user_key(self, call: Call) -> str:
        """Return what uploads are counted by: user, else address."""
        account = self.caller_account(call)
        return f"user {account.url}" if account else f"address {call.address}"

    def credit_key(self, call: Call) -> str:
        """Return what credits are counted by: the user within each application."""
        client_id = call.caller.client_id if call.caller else ""
        return f"{client_id} {self.user_key(call)}"

    def is_owner(self, call: Call, thing: Image | Album) -> bool:
        """Return whether the thing belongs to the caller's account."""
        account = self.caller_account(call)
        return account is not None and thing.owner == account.url

    def may_read(self, call: Call, album: Album) -> bool:
        """Return whether the caller may see the album, knowing its id."""
        return album.privacy != "secret" or self.is_owner(call, album)

    # --- What is asked about ---

    def account_named(self, call: Call) -> Account:
        """Return the account in the path; ``me`` is the caller's."""
        name = call.parameters["user"]
        if name == "me":
            return self.require_account(call)
        account = self.world.account(name)
        if account is None:
            raise ApiError(404, "Unable to find an account with that name")
        return account

    def own_account(self, call: Call) -> Account:
        """Return the account in the path if it is the caller's. Raises 401, 403."""
        caller = self.require_account(call)
        if self.account_named(call) is not caller:
            raise ApiError(403, "Unauthorized")
        return caller

    def image_to_change(self, call: Call, *, refusal: str) -> Image:
        """Return the image a caller may change: own by id, any by deletehash."""
        key = call.parameters["image"]
        image = self.world.image_by_deletehash(key)
        if image is not None:
            return image
        image = self.world.images.get(key)
        if image is None:
            raise not_found_image(key)
        if not self.is_owner(call, image):
            raise ApiError(403, refusal)
        return image

    def album_to_change(self, call: Call) -> Album:
        """Return the album a caller may change: own by id, any by deletehash."""
        key = call.parameters["album"]
        album = self.world.album_by_deletehash(key)
        if album is not None:
            return album
        album = self.world.albums.get(key)
        if album is None:
            raise not_found_album(key)
        if not self.is_owner(call, album):
            raise ApiError(403, "Permission Denied")
        return album


#: A route: answers data for the envelope or a whole Reply, or raises ApiError.
Handler = Callable[[Context, Call], Awaitable[object]]
