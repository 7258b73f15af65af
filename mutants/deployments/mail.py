"""Mail that clients cannot trust, that refuses them, or that does not tell them what else there is."""

from __future__ import annotations

from . import fronts
from .declaration import CHATMAIL, COTURN, MADMAIL, REFERENCE, fault
from .site import NAME, Site

TRUSTED = "tls.certificates_are_trusted"
DISCOVERY = "discovery.metadata_offers_a_relay"
IDLE = "mail.idle_reports_new_mail"
OURS = (REFERENCE, COTURN, CHATMAIL)
IMAP, SUBMISSION = 993, 465


@fault(
    "the certificates of mail have expired",
    cause="mail.certificate_expired",
    red={TRUSTED: "expired"},
    on=(REFERENCE, MADMAIL),
)
def certificate_expired(site: Site) -> None:
    site.show_certificate(site.authority.issue(NAME, days=(-90, -1)))


@fault(
    "the certificates of mail are for another name",
    cause="mail.certificate_wrong_name",
    red={TRUSTED: "is not trusted"},
    on=(REFERENCE, MADMAIL),
)
def certificate_of_another_name(site: Site) -> None:
    site.show_certificate(site.authority.issue("mail.elsewhere.example"))


@fault(
    "nobody vouches for the certificates of mail",
    cause="mail.certificate_untrusted",
    red={TRUSTED: "is not trusted"},
    on=(REFERENCE, MADMAIL),
)
def certificate_self_signed(site: Site) -> None:
    site.show_certificate(site.private.issue(NAME))


@fault(
    "IMAP greets with BYE",
    cause="mail.refuses_sessions",
    red={IDLE: "BYE"},
    on=(REFERENCE, MADMAIL),
)
def imap_says_bye(site: Site) -> None:
    talk = fronts.says("* BYE too many connections, come back later")
    site.put_front(IMAP, talk, site.authority.issue(NAME))


@fault(
    "submission greets with 554",
    cause="mail.smtp_refuses_sessions",
    red={IDLE: "554"},
    on=(REFERENCE, MADMAIL),
)
def submission_says_554(site: Site) -> None:
    site.put_front(SUBMISSION, fronts.says("554 no service here"), site.authority.issue(NAME))


@fault(
    "registration is closed: nobody gets an account by logging in",
    cause="mail.registration_closed",
    red={IDLE: "LOGIN was refused"},
    on=(REFERENCE, MADMAIL),
)
def registration_closed(site: Site) -> None:
    answers = {
        "CAPABILITY": "* CAPABILITY IMAP4rev1 IDLE\r\n{0} OK done\r\n",
        "LOGIN|AUTHENTICATE": "{0} NO [AUTHENTICATIONFAILED] registration is closed\r\n",
        "LOGOUT": "* BYE see you\r\n{0} OK done\r\n",
    }
    talk = fronts.says("* OK IMAP4rev1 ready", answers)
    site.put_front(IMAP, talk, site.authority.issue(NAME))


@fault(
    "a client in IDLE does not hear of new mail",
    cause="mail.idle_is_silent",
    red={IDLE: "EXISTS during IDLE"},
    on=(REFERENCE, COTURN),
)
def idle_is_silent(site: Site) -> None:
    site.mutate("idle_never_wakes")


@fault(
    "mail that everybody can read is accepted",
    cause="mail.accepts_unencrypted",
    red={"mail.unencrypted_mail_is_refused": ""},
    on=(REFERENCE, COTURN),
)
def unencrypted_mail_accepted(site: Site) -> None:
    site.mutate("unencrypted_mail_accepted")


@fault(
    "METADATA is served and not advertised, so that clients do not ask for it",
    cause="metadata.not_advertised",
    red={DISCOVERY: "does not advertise the IMAP capability METADATA"},
    on=OURS,
)
def metadata_not_advertised(site: Site) -> None:
    site.mutate("metadata_capability_missing")


@fault(
    "METADATA-SERVER is advertised in place of METADATA, so that clients do not ask for it",
    cause="metadata.not_advertised",
    red={DISCOVERY: "does not advertise the IMAP capability METADATA"},
    on=(REFERENCE,),
)
def metadata_of_the_server_only(site: Site) -> None:
    site.mutate("metadata_of_the_server_only")


@fault(
    "METADATA has no TURN server",
    cause="metadata.turn_missing",
    red={"turn.turn_is_offered": "METADATA has no value for"},
    on=(REFERENCE, COTURN, MADMAIL),
)
def turn_not_in_metadata(site: Site) -> None:
    site.mutate("turn_key_missing")
    site.edit("madmail", "/^ *turn_/d; /^turn /,/^}/d")


@fault(
    "METADATA has no iroh relay",
    cause="metadata.relay_missing",
    red={DISCOVERY: "METADATA has no value for"},
    on=(REFERENCE, COTURN, MADMAIL),
)
def relay_not_in_metadata(site: Site) -> None:
    site.mutate("irohrelay_missing")
    site.edit("madmail", "s#iroh_relay_url .*#iroh_relay_url no-url#")


@fault(
    "METADATA has something for the iroh relay that is no URL",
    cause="metadata.relay_unusable",
    red={DISCOVERY: "offers an unusable relay"},
    on=(REFERENCE, COTURN),
)
def relay_url_unusable(site: Site) -> None:
    site.mutate("irohrelay_unusable")
