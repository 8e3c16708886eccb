"""What an agent receives of the media in its room."""

from livekit import rtc

from config_store.personas import MODALITY_PARTS
from config_store.schema import SessionConfig


def refuse_video(room: rtc.Room, config: SessionConfig) -> None:
    """
    Receive video and screen share only where the modality profile has them.

    Each such track is given back when it comes, and those that are there already at once. Subscribing to
    audio alone from the start would do the same, but after a restart of LiveKit it leaves the agent deaf:
    tracks that were there are not announced again.
    """
    if MODALITY_PARTS[config.modality_profile] & {"camera", "screenshare"}:
        return

    def give_back(track: rtc.RemoteTrack, publication: rtc.RemoteTrackPublication, _: object) -> None:
        if track.kind == rtc.TrackKind.KIND_VIDEO:
            publication.set_subscribed(False)

    room.on("track_subscribed", give_back)
    for participant in room.remote_participants.values():
        for publication in participant.track_publications.values():
            if publication.track is not None:
                give_back(publication.track, publication, participant)
