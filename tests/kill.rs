//! `kill -9` at random moments, and everything around it restarted at others: no mail is lost, none is handled twice.
//!
//! `tests/kill9` runs the same with sizes of one's choice. A run is given by its seed, which is printed; what the
//! machine makes of it differs a little each time.

mod post;
mod verdict;

use std::fmt::Debug;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use ticketd::database::PrivatePostgres;
use ticketd::queue;

use crate::harness::daemon::{Daemon, Premises};
use crate::harness::dovecot::Dovecot;
use crate::harness::postgres;
use crate::harness::smtp::{At, Behaviour};
use crate::harness::wait::{PATIENCE, within};

use post::Post;

/// A number from the environment, as `tests/kill9` sets it.
#[expect(
    clippy::disallowed_methods,
    reason = "a test has no configuration; the seed comes by the environment"
)]
fn number<T: FromStr<Err: Debug>>(name: &str, otherwise: T) -> T {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number in the environment"))
}

#[tokio::test]
async fn killed_five_times_over_sixty_waiting_mails() {
    let mut run = Run::begin("waiting", number("TICKETD_WAITING", 60));
    let kills = number("TICKETD_WAITING_KILLS", 5);
    let dovecot = Dovecot::shared();
    let premises = Premises::furnish(dovecot.imap_port(), "after = \"seen\"", "").await;
    dovecot.deliver(&premises.user, "INBOX", run.post.bags.iter().map(Vec::as_slice));
    let mut daemon = Daemon::start(&premises.config, "");
    for _ in 0..kills {
        assert!(daemon.comes_up().await, "{}", daemon.log());
        daemon.works_for(run.chance.random_range(1..80), Duration::from_secs(1)).await;
        daemon.kill();
        run.errors.extend(daemon.errors());
        premises.leases_run_out().await;
        daemon = Daemon::start(&premises.config, "");
    }
    run.end(&premises, dovecot, vec![daemon], &format!("{kills} kills")).await;
    premises.db.close().await;
}

#[tokio::test]
async fn killed_while_mails_arrive_and_everything_around_is_restarted() {
    let kills = number("TICKETD_ARRIVING_KILLS", 6);
    killed_while_mails_arrive(Run::begin("arriving", number("TICKETD_ARRIVING", 60)), kills, 1).await;
}

#[tokio::test]
async fn two_processes_are_killed_while_mails_arrive_and_everything_around_is_restarted() {
    let kills = number("TICKETD_TWO_KILLS", 20);
    killed_while_mails_arrive(Run::begin("two processes", number("TICKETD_TWO", 60)), kills, 2).await;
}

/// Kills one of these processes at a time, whichever, and all of them in the end.
async fn killed_while_mails_arrive(mut run: Run, kills: usize, processes: usize) {
    let mut around = Around::start(&mut run, processes).await;
    let blows = Blow::of(kills.saturating_sub(processes), &mut run.chance);
    let mut bags = run.post.bags.clone().into_iter();
    let share = bags.len() / (blows.len() + 1);
    for blow in &blows {
        let burst: Vec<_> = bags.by_ref().take(run.chance.random_range(0..=2 * share)).collect();
        around.dovecot.deliver(&around.premises.user, "INBOX", burst.iter().map(Vec::as_slice));
        let some_time = Duration::from_millis(run.chance.random_range(0..600));
        let one = run.chance.random_range(0..processes);
        around.daemon(one).works_for(run.chance.random_range(0..60), some_time).await;
        around.strike(blow, one, &mut run.errors).await;
    }
    let rest: Vec<_> = bags.collect();
    around.dovecot.deliver(&around.premises.user, "INBOX", rest.iter().map(Vec::as_slice));
    around.calm(&mut run.errors).await;
    let of = |what: &[Blow]| blows.iter().filter(|blow| what.contains(blow)).count();
    let said = format!(
        "{} kills, {} PostgreSQL restarts, {} Dovecot restarts, {} SMTP disturbances",
        around.kills,
        of(&[Blow::RestartPostgres, Blow::HaltPostgres]),
        of(&[Blow::KillDovecot, Blow::StopDovecot]),
        of(&[Blow::RefuseMail, Blow::LoseAnswers, Blow::HangUp, Blow::SayNothing]),
    );
    assert!(around.kills * 2 >= kills, "{said}");
    let Around { premises, dovecot, daemons, .. } = around;
    run.end(&premises, &dovecot, daemons, &said).await;
    premises.db.close().await;
}

/// One run, given by its seed.
struct Run {
    name: &'static str,
    seed: u64,
    chance: StdRng,
    post: Post,
    begun: Instant,
    /// What the killed processes logged as errors.
    errors: Vec<String>,
}

impl Run {
    fn begin(name: &'static str, mails: usize) -> Self {
        let seed = number("TICKETD_SEED", u64::from(rand::random::<u32>()));
        say(&format!("kill9 {name}: seed {seed}"));
        let mut chance = StdRng::seed_from_u64(seed);
        let post = Post::write(mails, &mut chance);
        Self { name, seed, chance, post, begun: Instant::now(), errors: Vec::new() }
    }

    /// Lets the last processes do what is left, then looks at the result.
    async fn end(mut self, premises: &Premises, dovecot: &Dovecot, daemons: Vec<Daemon>, blows: &str) {
        for daemon in &daemons {
            assert!(daemon.comes_up().await, "{}", daemon.log());
        }
        let deliveries = self.post.bags.len();
        let unacted = "SELECT count(*) FROM inbound WHERE NOT acted";
        let all_is_done =
            async || premises.is_settled(deliveries).await && premises.count(unacted).await == 0;
        let mut unfinished = Vec::new();
        let patience = PATIENCE + Duration::from_millis(100) * u32::try_from(deliveries).expect("small");
        if !within(patience, all_is_done).await {
            let jobs = queue::list(&premises.db, queue::Which::All, 100).await.expect("the jobs");
            let logs: Vec<String> = daemons.iter().map(Daemon::log).collect();
            unfinished.push(format!("not done after {patience:?}: {jobs:?}\n{}", logs.join("\n\n")));
        }
        for daemon in daemons {
            self.errors.extend(daemon.errors());
            daemon.stops().await;
        }
        let seconds = self.begun.elapsed().as_secs_f32();
        let mut figures = verdict::examine(premises, dovecot, &self.post).await;
        figures.faults.extend(unfinished);
        let Self { name, seed, post, .. } = &self;
        say(&format!(
            "kill9 {name}: seed {seed}: {} mails, {} of them delivered twice; {blows}; {} tickets, lost {}, doubled {}, \
             {} acknowledgements, {} second copies under the same Message-ID; {seconds:.1} s",
            post.letters.len(),
            post.redelivered(),
            figures.tickets,
            figures.lost,
            figures.doubled,
            figures.acknowledgements,
            figures.second_copies,
        ));
        assert!(figures.faults.is_empty(), "seed {seed}: {:#?}", figures.faults);
        assert_eq!(self.errors, Vec::<String>::new(), "seed {seed}: errors were logged");
    }
}

#[expect(clippy::print_stderr, reason = "the figures of a run, for who asks for them with --nocapture")]
fn say(line: &str) {
    eprintln!("{line}");
}

/// What happens to ticketd and the world around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    Kill,
    RestartPostgres,
    HaltPostgres,
    ResumePostgres,
    KillDovecot,
    StopDovecot,
    StartDovecot,
    /// 451, for a while.
    RefuseMail,
    /// The mail server takes mails and hangs up before it says so.
    LoseAnswers,
    /// It hangs up when it is to take a mail.
    HangUp,
    /// It takes mails and never says so.
    SayNothing,
    AcceptMail,
}

impl Blow {
    /// That many kills, mixed with about as many other things.
    fn of(kills: usize, chance: &mut StdRng) -> Vec<Self> {
        let mut blows = vec![Self::Kill; kills];
        let others = [
            &[Self::RestartPostgres][..],
            &[Self::KillDovecot, Self::StartDovecot],
            &[Self::RefuseMail, Self::AcceptMail],
            &[Self::HaltPostgres, Self::ResumePostgres],
            &[Self::LoseAnswers, Self::AcceptMail],
            &[Self::StopDovecot, Self::StartDovecot],
            &[Self::HangUp, Self::AcceptMail],
            &[Self::SayNothing, Self::AcceptMail],
        ];
        for group in others.iter().cycle().take((kills + 1).max(4)) {
            let at = chance.random_range(0..=blows.len());
            for (offset, blow) in group.iter().enumerate() {
                // What ends a disturbance comes after it, and perhaps much later.
                let place = chance.random_range(at..=blows.len());
                blows.insert(if offset == 0 { at } else { place.max(at + 1).min(blows.len()) }, *blow);
            }
        }
        blows
    }
}

/// The world of a run, none of it shared with other tests.
struct Around {
    postgres: PrivatePostgres,
    postgres_runs: bool,
    dovecot: Dovecot,
    dovecot_runs: bool,
    premises: Premises,
    daemons: Vec<Daemon>,
    struck: usize,
    /// Of those, how many found the process up.
    kills: usize,
}

impl Around {
    async fn start(run: &mut Run, processes: usize) -> Self {
        let postgres = postgres::private().await;
        let dovecot = Dovecot::private();
        let url = postgres::url_of(&postgres.options("postgres"));
        let premises = Premises::on(&url, dovecot.imap_port(), "after = \"seen\"", "").await;
        run.begun = Instant::now();
        let daemons = (0..processes).map(|_| Daemon::start(&premises.config, "")).collect();
        Self {
            postgres,
            postgres_runs: true,
            dovecot,
            dovecot_runs: true,
            premises,
            daemons,
            struck: 0,
            kills: 0,
        }
    }

    fn daemon(&mut self, one: usize) -> &mut Daemon {
        self.daemons.get_mut(one).expect("one of them")
    }

    async fn strike(&mut self, blow: &Blow, one: usize, errors: &mut Vec<String>) {
        let sink = &self.premises.sink;
        match blow {
            Blow::Kill => {
                // Every other kill finds it up for certain, the rest whatever it does, its start included.
                self.struck += 1;
                if self.struck % 2 == 1 {
                    self.bring_up(one, errors).await;
                }
                let daemon = self.daemon(one);
                let was_up = daemon.is_up();
                daemon.kill();
                self.kills += usize::from(was_up);
            }
            Blow::RestartPostgres => {
                self.postgres.crash_and_restart().expect("PostgreSQL starts again");
                self.postgres_runs = true;
            }
            Blow::HaltPostgres => {
                self.postgres.halt().expect("PostgreSQL stops");
                self.postgres_runs = false;
            }
            Blow::ResumePostgres => self.resume_postgres(),
            Blow::KillDovecot => {
                self.dovecot.kill();
                self.dovecot_runs = false;
            }
            Blow::StopDovecot => {
                self.dovecot.stop();
                self.dovecot_runs = false;
            }
            Blow::StartDovecot => self.start_dovecot(),
            Blow::RefuseMail => sink.behave(&Behaviour::Refuse(At::Data, 451, "4.3.0 later".to_owned())),
            Blow::LoseAnswers => sink.behave(&Behaviour::DropAfterData),
            Blow::HangUp => sink.behave(&Behaviour::DropBeforeData),
            Blow::SayNothing => sink.behave(&Behaviour::HangAfterData),
            Blow::AcceptMail => sink.behave(&Behaviour::Accept),
        }
        self.keep_running(errors).await;
    }

    fn start_dovecot(&mut self) {
        if !self.dovecot_runs {
            self.dovecot.start();
            self.dovecot_runs = true;
        }
    }

    fn resume_postgres(&mut self) {
        if !self.postgres_runs {
            self.postgres.resume().expect("PostgreSQL starts again");
            self.postgres_runs = true;
        }
    }

    /// Starts a daemon again where it ended: killed, or at its start, for want of a database.
    async fn keep_running(&mut self, errors: &mut Vec<String>) {
        if !self.postgres_runs {
            return;
        }
        // What another one has in hand stays its own.
        if self.daemons.iter().all(Daemon::has_ended) {
            self.premises.leases_run_out().await;
        }
        for daemon in self.daemons.iter_mut().filter(|daemon| daemon.has_ended()) {
            errors.extend(daemon.errors());
            *daemon = Daemon::start(&self.premises.config, "");
        }
    }

    async fn bring_up(&mut self, one: usize, errors: &mut Vec<String>) {
        for _ in 0..5 {
            if self.daemon(one).is_up() {
                return;
            }
            // It waits for PostgreSQL, or ended without it, or is about to begin.
            self.resume_postgres();
            self.keep_running(errors).await;
            self.daemon(one).comes_up().await;
        }
        panic!("it does not come up:\n{}", self.daemon(one).log());
    }

    /// Everything works again, and all are killed once more.
    async fn calm(&mut self, errors: &mut Vec<String>) {
        self.resume_postgres();
        self.start_dovecot();
        self.premises.sink.behave(&Behaviour::Accept);
        self.keep_running(errors).await;
        let some_moment = Duration::from_millis(300);
        for daemon in &mut self.daemons {
            daemon.works_for(20, some_moment).await;
        }
        for one in 0..self.daemons.len() {
            self.bring_up(one, errors).await;
        }
        // At once, so that all leases have run out: nobody waits for what the dead had in hand.
        self.kills += self.daemons.iter().filter(|daemon| daemon.is_up()).count();
        self.daemons.iter_mut().for_each(Daemon::kill);
        self.keep_running(errors).await;
    }
}
