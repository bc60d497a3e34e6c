"""Captions for people: what was measured, and scene words only where they are plausible.

The embedded captioner names the two best of ImageNet's thousand classes. A classifier has to choose one of them: for wet
streets it has chosen "guillotine" and "toilet seat". Retrieval compares the captions as they are; people are shown the
measured words (light, streaks, drops) and those classes alone that a photograph taken outdoors can show.
"""

from __future__ import annotations

import re

_WRITTEN = re.compile(r"^(day|night) photograph of ([^,]+), ([^,]+)(?:, (.*))?$", re.DOTALL)

#: Classes of ImageNet (their first names) that are places, vehicles and things of streets and landscapes.
PLAUSIBLE = frozenset(
    word.strip()
    for word in """
    alp; ambulance; barn; beach wagon; bell cote; bicycle-built-for-two; boathouse; breakwater; bullet train; cab;
    castle; church; cinema; cliff; cliff dwelling; convertible; dam; dock; electric locomotive; fire engine;
    flagpole; fountain; freight car; garbage truck; geyser; go-kart; golfcart; greenhouse; grille; half track; harvester;
    lakeside; lifeboat; limousine; lumbermill; mailbox; manhole cover; maze; megalith; minibus; minivan; mobile home;
    model t; monastery; moped; mosque; motor scooter; mountain bike; mountain tent; moving van; obelisk; palace;
    park bench; parking meter; passenger car; patio; picket fence; pickup; pier; planetarium; police van; prison;
    promontory; racer; recreational vehicle; restaurant; sandbar; school bus; seashore; shopping cart; snowplow;
    spider web; sports car; steam locomotive; steel arch bridge; stone wall; streetcar; street sign; stupa; suspension bridge;
    thatch; tow truck; tractor; traffic light; trailer truck; tricycle; triumphal arch; trolleybus; umbrella; unicycle;
    valley; viaduct; volcano; water tower; worm fence; yurt
    """.replace("\n", " ").split(";")
)


def plain(caption: str) -> str:
    """A caption of the embedded captioner without implausible classes; other captions as they are.

    Example: "night photograph of guillotine, street sign, dense fine streaks of rain slanting" becomes
    "night photograph (street sign), dense fine streaks of rain slanting".
    """
    found = _WRITTEN.match(caption)
    if found is None:
        return caption
    light, *words, rest = found.groups()
    seen = [w.strip() for w in words if w.strip() in PLAUSIBLE]
    scene = f" ({', '.join(seen)})" if seen else ""
    return f"{light} photograph{scene}" + (f", {rest}" if rest else "")
