"""Every bound of the program, with its unit and its reason.

Not a settings file: what a user may change lives in :mod:`imgurfs.config`, whose
defaults refer to these names. Anybody may import this module; it imports nothing.
"""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- Waiting -----------------------------------------------------------------

#: A kernel request for data is answered within this, or fails (docs/SEMANTICS.md).
FUSE_DATA_DEADLINE_S: Final = 30.0
#: A kernel request for metadata is answered within this, or fails.
FUSE_METADATA_DEADLINE_S: Final = 10.0
#: Time to establish a connection; longer means the network hangs.
CONNECT_TIMEOUT_S: Final = 10.0
#: Longest silence on an open connection while reading or writing.
SOCKET_TIMEOUT_S: Final = 20.0
#: Longest wait for a free connection in the pool.
POOL_TIMEOUT_S: Final = 20.0
#: A whole API call other than an upload.
API_CALL_TIMEOUT_S: Final = 60.0
#: A whole upload; Imgur has been seen to take 140 s before it answers.
UPLOAD_TIMEOUT_S: Final = 600.0
#: SIGTERM to exit; in-flight uploads are abandoned as unknown after this.
STOP_GRACE_S: Final = 20.0
#: Pauses between the attempts at a directory that was never listed, when Imgur is out.
FIRST_LISTING_PAUSES_S: Final = (0.5, 1.5)
#: How long a mount command waits for the mounted drive to answer.
MOUNT_READY_TIMEOUT_S: Final = 15.0
#: Longest wait for another process's write transaction before "database is busy".
DATABASE_BUSY_TIMEOUT_S: Final = 10.0
#: How often a process looks for the other process's commits (PRAGMA data_version
#: costs about 3 microseconds).
CHANGE_POLL_S: Final = 0.25
#: An idle drainer looks for jobs that have become due this often at the latest.
DRAIN_POLL_S: Final = 1.0
#: A mount that cannot send, because of a full disk for example, tries again after this.
DRAIN_RETRY_S: Final = 10.0
#: It looks at most this often, but when a job of its own has ended: of a thousand files
#: that were just written, each becomes due at a moment of its own.
DRAIN_TURN_S: Final = 0.05
#: A mount that sends asks this often whether a daemon has come that will.
DAEMON_POLL_S: Final = 0.05
#: A mount lets go of sending within this: what it has in the air ends first.
HANDOVER_S: Final = 60.0
#: What a mount that ends leaves a call in the air to end.
UNMOUNT_GRACE_S: Final = 5.0

# --- The service -----------------------------------------------------------------

#: A worker that promises nothing better is heard of again within this.
WORKER_SILENCE_MAX_S: Final = 900.0
#: A busy machine may delay what was promised by this much.
WORKER_SLACK_S: Final = 60.0
#: Listing the whole account ends within this, or is given up and tried again.
RECONCILE_TIMEOUT_S: Final = 3_600.0
#: A daemon that starts does not list the whole account again when the last listing is
#: no older than this.
RECONCILE_FRESH_S: Final = 3_600.0
#: An account that cannot be served is tried again after this.
ACCOUNT_RETRY_S: Final = 300.0

# --- The kernel --------------------------------------------------------------

#: Positive entries and attributes are kept this long: we invalidate what changes.
KERNEL_TIMEOUT_S: Final = 3600.0
#: Names that do not exist are remembered this long.
KERNEL_NEGATIVE_TIMEOUT_S: Final = 30.0
#: Concurrent kernel requests. pyfuse3's default of 99 is a real cap (measured).
FUSE_TASKS_MAX: Final = 512
#: Longest file name in bytes (ext4, and what every tool expects).
NAME_BYTES_MAX: Final = 255

# --- Imgur's documented numbers; start values only, headers override them -----

#: Credits a user may spend in an hour (observed 2024-25).
USER_CREDITS_PER_HOUR: Final = 500
#: Credits a client id may spend in a day (documented).
CLIENT_CREDITS_PER_DAY: Final = 12_500
#: POST requests an address may send in an hour (documented).
POSTS_PER_HOUR: Final = 1_250
#: Uploads in an hour before "uploading too fast" (observed; not documented).
UPLOADS_PER_HOUR: Final = 50
#: A refusal after fewer uploads than this in an hour was somebody else's doing.
UPLOADS_LEARNED_MIN: Final = 10
#: Uploads that may follow each other without a pause ...
UPLOAD_BURST_MAX: Final = 60
#: ... and how many a second after those.
UPLOADS_PER_S_MAX: Final = 5.0
#: Credits reserved for an upload (documented; observed to cost 1).
UPLOAD_CREDITS: Final = 10
#: Times a month the daily limit may be hit before the client id is blocked.
STRIKES_PER_MONTH: Final = 5
#: How long a strike is remembered.
STRIKE_MEMORY_S: Final = 31 * 86_400.0
#: Largest still picture the API takes (2024 reports put the limit at 10 to 20 MB).
STILL_BYTES_MAX: Final = 10_000_000
#: Largest animation or video.
VIDEO_BYTES_MAX: Final = 200_000_000
#: Items asked for on a page; Imgur serves at most this many.
PAGE_SIZE: Final = 100
#: A listing longer than this is a server that does not end its pages.
PAGES_MAX: Final = 5_000
#: Largest API answer that is read; a page of 100 items is about 120 KB.
REPLY_BYTES_MAX: Final = 64 * MIB
#: Retry-free wait after "over capacity" (what long-lived clients use).
CAPACITY_PAUSE_S: Final = 600.0
#: A reset header above this is an epoch; below, seconds from now.
RESET_EPOCH_MIN: Final = 10**8
#: No reset is believed to lie further ahead than this.
RESET_AHEAD_MAX_S: Final = 25 * 3600.0
#: Added to every learned reset: headers carry whole seconds, rounded down.
RESET_MARGIN_S: Final = 2.0
#: Wait after "uploading too fast" when the answer names no time.
UPLOAD_PAUSE_S: Final = 3_600.0
#: Bytes of an upload that are read and sent at a time.
UPLOAD_CHUNK_BYTES: Final = 256 * KIB
#: An idle connection is kept this long; shorter than any proxy on the way keeps it.
KEEPALIVE_S: Final = 15.0
#: How often a process looks whether another has finished refreshing the token.
TOKEN_LOCK_POLL_S: Final = 0.05
#: A token this close to its end is refreshed before it is used.
TOKEN_EXPIRY_MARGIN_S: Final = 60.0
#: Where the browser comes back to after a login, unless told another port.
CALLBACK_PORT: Final = 8723
#: How long a login waits for the browser.
LOGIN_TIMEOUT_S: Final = 300.0
#: A browser sends a request to the callback page within this.
CALLBACK_REQUEST_S: Final = 10.0
#: Connections to the callback page at a time; a browser opens a handful.
CALLBACK_CONNECTIONS_MAX: Final = 32
#: Characters of a foreign answer that are quoted in a message.
EXCERPT_CHARS_MAX: Final = 160

# --- Content -----------------------------------------------------------------

#: Downloads are cut at multiples of this, so that readers share them.
CHUNK_BYTES: Final = 1 * MIB
#: Sequential read-ahead grows to this.
READ_AHEAD_BYTES_MAX: Final = 8 * MIB
#: Parallel downloads from the CDN.
DOWNLOADS_MAX: Final = 8
#: Attempts at one range before the reader gets an error.
DOWNLOAD_ATTEMPTS_MAX: Final = 3

# --- Queues ------------------------------------------------------------------

#: Attempts of one job before it goes to the dead letter.
JOB_ATTEMPTS_MAX: Final = 8
#: Longest pause between two attempts of a job.
JOB_BACKOFF_MAX_S: Final = 3_600.0
#: Concurrent API calls of a drainer.
DRAIN_CONCURRENCY_MAX: Final = 3

# --- Freshness ---------------------------------------------------------------

#: An album list older than this is listed again when somebody looks.
ALBUM_LIST_TTL_S: Final = 300.0
#: Most time between two readings of the whole image list while somebody looks.
IMAGE_LIST_TTL_MAX_S: Final = 86_400.0
#: An album whose count and cover did not change is listed again after this when
#: somebody opens it: a swap of two pictures changes neither.
ALBUM_RELIST_S: Final = 6 * 3_600.0
#: First and longest pause of the refresher after a failure.
REFRESH_BACKOFF_MIN_S: Final = 5.0
REFRESH_BACKOFF_MAX_S: Final = 300.0
#: An album that the album list shows and Imgur refuses is left alone this long.
REFUSED_ALBUM_RETRY_S: Final = 3_600.0
#: Rows of the change log that are kept; a reader further behind starts afresh.
CHANGES_KEPT: Final = 100_000
#: Full rescan of a watched folder (with jitter).
RESCAN_INTERVAL_S: Final = 3_600.0
#: Of the time, at most this share is spent on reading a folder that keeps changing.
SCAN_SHARE_MAX: Final = 0.2
#: Directories that the kernel does not watch are read this often (with jitter).
WATCH_POLL_S: Final = 60.0
#: Longest pause between two readings of a folder that keeps changing.
SCAN_PAUSE_MAX_S: Final = 60.0
#: New files that are looked at together, for the memory it takes.
LOOK_FILES_MAX: Final = 10_000
#: Uploads that are put into the outbox in one transaction.
QUEUE_SLICE: Final = 2_000
#: With more changed directories than this, everything is read.
WATCH_DIRTY_MAX: Final = 1_000
#: Files seen closed that are remembered until they are looked at.
WATCH_CLOSED_MAX: Final = 10_000
#: A watched folder compares clocks and mounts this often: resume, a disk that came.
WATCH_CHECK_S: Final = 30.0
#: A folder that is not there is looked for this often.
MISSING_POLL_S: Final = 15.0
#: A file is settled when it has held still this long after being closed.
SETTLE_S: Final = 2.0
#: A file that nobody saw being closed has to hold still this many times as long.
SETTLE_OPEN_FACTOR: Final = 5.0
#: A file that was sent a moment ago is not sent again before this many times as long
#: (a minute), however often it is saved.
RESEND_FACTOR: Final = 30.0
#: Delay before an image is really deleted.
DELETE_GRACE_S: Final = 600.0

# --- Unknown outcomes ----------------------------------------------------------

#: Imgur may still carry out a request that long after nobody listens any more.
QUARANTINE_S: Final = 120.0
#: Between the two looks that together prove that something did not happen.
SECOND_LOOK_S: Final = 60.0
#: Imgur's clock and ours may differ by this much.
CLOCK_SKEW_S: Final = 300.0
#: Listings may lag behind changes (observed: 1 to 2 s); a look waits longer than that.
LISTING_LAG_S: Final = 3.0
#: The newest images are listed again before an upload when that is longer ago: another
#: machine may have sent the same picture.
RECENT_IMAGES_TTL_S: Final = 1_800.0
#: The whole account is listed again this often (with jitter), for what others changed.
FULL_REFRESH_INTERVAL_S: Final = 86_400.0

# --- Writing to the drive --------------------------------------------------------

#: A written file is uploaded when nobody has written to it for this long: programs
#: close a file, open it again and rename it within a moment.
DRIVE_SETTLE_S: Final = 2.0
#: Scratch older than this is mentioned in the status.
SCRATCH_OLD_S: Final = 3_600.0
#: An image that is changed in place is brought into the spool in pieces of this size.
SPOOL_PIECE_BYTES: Final = MIB
#: Written bytes that are collected in memory before the disk gets them: of all files,
#: and pieces of one file.
SPOOL_PENDING_BYTES_MAX: Final = 64 * MIB
SPOOL_PENDING_WRITES_MAX: Final = 256
#: The spool leaves this much of its disk free: the database must be able to write.
SPOOL_RESERVE_BYTES: Final = 64 * MIB
#: An uploaded file is compared with what the CDN serves until that answers, with
#: pauses between the attempts that double from the first to the longest.
COMPARE_PAUSE_MIN_S: Final = 5.0
COMPARE_PAUSE_MAX_S: Final = 3_600.0
#: Largest still that Imgur keeps as it is; a larger one is made a smaller JPEG.
LOSSLESS_STILL_BYTES_MAX: Final = 5_000_000
#: The same of one that was uploaded without an account.
LOSSLESS_ANONYMOUS_BYTES_MAX: Final = 1_000_000
#: Largest animation that Imgur serves itself under its link, not a picture of it.
LOSSLESS_GIF_BYTES_MAX: Final = 20_000_000

# --- The doctor ------------------------------------------------------------------

#: A check of the doctor's ends within this, or is given up.
DOCTOR_CHECK_S: Final = 5.0
#: Of that, counting a watched folder's directories may take this.
DOCTOR_WALK_S: Final = 3.0
#: A clock that is off by more than this is worth a warning; by more than
#: CLOCK_SKEW_S it is a problem.
CLOCK_SKEW_WARN_S: Final = 60.0
#: A disk with less free is worth a warning; with less than SPOOL_RESERVE_BYTES nothing
#: can be written to the drive.
DISK_FREE_LOW_BYTES: Final = 512 * MIB

# --- The guard -----------------------------------------------------------------

#: Deletions are held when more than this many images would go within the window ...
GUARD_COUNT_MAX: Final = 10
#: ... and more than this part of the images.
GUARD_SHARE_MAX: Final = 0.2
#: Deletions that were sent this long ago still count.
GUARD_WINDOW_S: Final = 3_600.0

# --- Albums --------------------------------------------------------------------

#: Images named in one album call; nobody has documented more.
ALBUM_CALL_IMAGES_MAX: Final = 100
#: Changes of one album are collected until none has come for this long ...
ALBUM_QUIET_S: Final = 2.0
#: ... or the first is this old.
ALBUM_PATIENCE_S: Final = 30.0
#: Times that a membership no listing shows is asked for before the user is told.
ALBUM_TRIES_MAX: Final = 3

assert FUSE_METADATA_DEADLINE_S < FUSE_DATA_DEADLINE_S < API_CALL_TIMEOUT_S
assert CHUNK_BYTES <= READ_AHEAD_BYTES_MAX
