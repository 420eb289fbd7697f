//! Words of a help desk that mean the same thing, across languages: a catalogue is written in one language and with one
//! choice of words, its customers have theirs. A shared concept counts for less than a shared word.
//!
//! Written by hand from everyday language, one concept a line; the order of words and lines means nothing.

pub(super) const CONCEPTS: &[&str] = &[
    // Money and buying.
    "invoice bill billing receipt rechnung abrechnung quittung facture facturation reçu factura facturación recibo \
     fattura fatturazione ricevuta fatura faturamento faturação factuur facturering",
    "payment pay paid paying zahlung zahlen bezahlen bezahlt bezahlung paiement payer payé pago pagar pagado pagamento \
     pagare pagato pago betaling betalen betaald",
    "fee fees charge charged charges cost costs surcharge gebühr gebühren kosten frais coût coûts cargo cargos costo \
     coste costes costi spese taxa taxas custo custos kosten toeslag",
    "price prices pricing tariff rates preis preise prix tarif precio precios prezzo prezzi preço preços prijs prijzen",
    "refund refunded reimbursement reimburse reimbursed erstattung rückerstattung erstatten gutschrift remboursement \
     rembourser reembolso reembolsar rimborso rimborsare terugbetaling terugbetalen estorno",
    "money cash funds geld bargeld argent espèces dinero efectivo denaro contanti soldi dinheiro contant",
    "buy bought buying purchase purchased purchasing kaufen gekauft kauf einkauf beschaffung achat acheter acheté compra \
     comprar comprado acquisto acquistare comprare aankoop kopen gekocht",
    "order orders ordered ordering bestellung bestellen bestellt commande commander pedido pedidos encomenda ordine \
     ordinare bestelling besteld",
    "quote quotation offer angebot kostenvoranschlag devis offre cotización presupuesto oferta preventivo offerta \
     orçamento cotação offerte",
    "subscription subscribe plan membership abonnement abo abonnieren suscripción subscrição assinatura abbonamento",
    "discount voucher coupon promo rabatt gutschein remise réduction descuento cupón sconto buono desconto cupom korting",
    "licence license licences licenses lizenz lizenzen licencia licencias licenza licença licenças licentie licenties",
    "twice double duplicate duplicated doppelt zweimal deux double doublon dos duplicado doble doppio due duplicato \
     duas dobro dubbel tweemaal",
    "currency currencies währung währungen devise devises moneda divisa valuta moeda",
    "sales vertrieb verkauf vente ventes ventas vendite vendas verkoop",
    // Going wrong.
    "error errors fault wrong incorrect mistake mistaken fehler falsch irrtum erreur erreurs faux incorrecte errores \
     equivocado errore errori sbagliato erro erros errado fout fouten verkeerd onjuist",
    "fail fails failed failing failure failures unsuccessful fehlgeschlagen scheitert fehlschlag échec échoue échoué \
     fallo fallos falla fallido fallito fallisce falha falhas falhou mislukt",
    "declined decline rejected reject refused denied abgelehnt verweigert zurückgewiesen refusé refusée rejeté \
     rechazado denegado rifiutato negato recusado rejeitado negado geweigerd afgewezen",
    "crash crashes crashed crashing freeze freezes frozen hang hangs absturz abgestürzt abstürze hängt einfrieren \
     plantage plante plantages bloqueo bloquea cuelga arresto bloccato crasha travamento travando trava vastgelopen",
    "broken damaged defective faulty malfunction malfunctioning kaputt defekt beschädigt cassé endommagé défectueux roto \
     dañado defectuoso averiado rotto danneggiato difettoso quebrado danificado defeituoso kapot beschadigd",
    "outage downtime unavailable disruption interruption ausfall störung unterbrechung ausgefallen panne interruption \
     indisponible interrupción caída interruzione indisponibile interrupção indisponível storing onderbreking",
    "slow slowness lag latency delay delayed delays langsam verzögerung verzögerungen träge lent lente lenteur retard \
     lento lentitud retraso lentezza ritardo lentidão atraso traag vertraging",
    "lost lose missing disappeared vanished misplaced verloren verschwunden fehlt perdu perdue disparu manquant perdido \
     desaparecido falta perso smarrito scomparso perdida desaparecida kwijt verdwenen",
    "stolen theft stole robbed gestohlen diebstahl volé vol robado robo hurto rubato furto roubado roubo gestolen",
    "fraud fraudulent scam betrug betrügerisch fraude escroquerie estafa frode truffa golpe oplichting",
    "bug bugs defect glitch fehlerhaft bogue anomalie defecto bogues difetto defeito",
    // Accounts and access.
    "password passwords passcode passwort kennwort passe contraseña clave parola senha wachtwoord",
    "login logon signin sign-in log-in anmeldung anmelden einloggen connexion connecter accesso accedere acceder \
     iniciar entrar inloggen aanmelden",
    "access permission permissions rights authorization zugriff zugang berechtigung berechtigungen rechte accès droits \
     autorisation acceso permiso permisos accesso permessi acesso permissão permissões toegang rechten machtiging",
    "account accounts profile konto konten benutzerkonto compte comptes cuenta cuentas conta contas profil account",
    "user users benutzer nutzer anwender utilisateur utilisateurs usuario usuarios utente utenti usuário usuários \
     utilizador gebruiker gebruikers",
    "locked blocked gesperrt blockiert verrouillé bloqué bloqueado bloqueada bloccato bloccata geblokkeerd vergrendeld",
    "verify verification identity identification identify verifizieren verifizierung identität ausweis vérifier \
     vérification identité verificar verificación identidad verificare verifica identità verificação identidade \
     verifiëren verificatie identiteit",
    "badge keycard ausweis zutrittskarte tarjeta crachá tesserino toegangspas",
    // Technology.
    "software application applications app apps program anwendung anwendungen programm logiciel logiciels aplicación \
     aplicaciones programa applicazione applicazioni aplicativo aplicação aplicações toepassing programma",
    "hardware device devices equipment machine gerät geräte ausrüstung appareil appareils matériel équipement \
     dispositivo dispositivos equipo equipos apparecchio apparecchiatura aparelho equipamento apparaat apparaten",
    "computer laptop pc notebook workstation desktop rechner arbeitsplatzrechner ordinateur portable ordenador \
     computador computadora portátil calcolatore",
    "printer printers printing print drucker drucken imprimante imprimer impresora imprimir stampante stampare \
     impressora afdrukken",
    "screen monitor monitors display bildschirm anzeige écran moniteur pantalla schermo tela ecrã beeldscherm scherm",
    "phone telephone mobile smartphone handy telefon téléphone teléfono móvil telefono cellulare telefone celular telefoon",
    "network connectivity lan wlan wifi wi-fi netzwerk netz réseau red redes rete rede netwerk",
    "connection connect connected connecting verbindung verbinden verbunden connexion conexión conectar connessione \
     collegare conexão ligação verbinding",
    "internet website web webseite site sitio página",
    "server servers serveur serveurs servidor servidores",
    "database databases db datenbank datenbanken données base datos banco dados gegevensbank",
    "email e-mail mail mailbox inbox postfach posteingang courriel boîte messagerie correo buzón posta casella caixa \
     correio postvak",
    "file files document documents datei dateien dokument dokumente fichier fichiers archivo archivos documento \
     documentos file arquivo arquivos ficheiro ficheiros bestand bestanden",
    "storage disk space quota speicher speicherplatz festplatte stockage disque espace almacenamiento disco espacio \
     spazio armazenamento espaço opslag schijf schijfruimte",
    "backup backups restore recovery recover sicherung datensicherung wiederherstellung wiederherstellen sauvegarde \
     restaurer récupération respaldo copia restaurar recuperación recuperar ripristino ripristinare recuperação \
     herstel herstellen",
    "install installation installing setup installieren einrichtung einrichten installer configurer instalar \
     instalación instalação installare installazione installeren installatie",
    "update updates upgrade upgrades patch aktualisierung aktualisieren mise jour actualización actualizar \
     aggiornamento aggiornare atualização atualizar bijwerken",
    "configure configuration settings setting preferences einstellung einstellungen konfiguration konfigurieren \
     paramètres réglages configurer ajustes configuración configurazione impostazioni configuração configurações \
     instellingen configuratie",
    "integration integrate integrating api interface schnittstelle anbindung integrieren intégration intégrer \
     integración integrar integrazione integrare integração integratie koppeling",
    "sync synchronize synchronization synchronisieren synchronisierung synchroniser synchronisation sincronizar \
     sincronización sincronizzare sincronizzazione sincronização synchroniseren",
    "compatibility compatible kompatibilität kompatibel compatibilité compatible compatibilidad compatibilità \
     compatibilidade compatibiliteit",
    "performance speed optimization optimize leistung geschwindigkeit optimierung vitesse optimisation rendimiento \
     velocidad optimización prestazioni velocità ottimizzazione desempenho velocidade otimização prestaties snelheid",
    "security secure securing sicherheit sichern absicherung sécurité sécuriser seguridad proteger sicurezza proteggere \
     segurança beveiliging veiligheid",
    "breach leak leaked hacked hack hacker compromised datenleck datenpanne gehackt sicherheitsverletzung \
     datenschutzverletzung violation fuite piratage brecha filtración hackeado violación violazione fuga vazamento \
     violação invasão datalek inbreuk",
    "virus malware ransomware trojan schadsoftware malveillant malveillants programa malicioso maligno",
    "encryption encrypt encrypted verschlüsselung verschlüsseln chiffrement chiffrer cifrado cifrar crittografia \
     cifratura criptografia encriptação versleuteling",
    "maintenance wartung maintenance mantenimiento manutenzione manutenção onderhoud",
    "cloud nube nuvem nuvola",
    "vpn remote homeoffice fernzugriff télétravail distance remoto",
    // Goods.
    "delivery deliver delivered shipping shipment ship shipped dispatch lieferung geliefert versand zustellung livraison \
     livré expédition envío entrega entregado consegna spedizione entregue levering bezorging verzending",
    "arrive arrived arrival arriving come came receive received receiving angekommen eingetroffen erhalten \
     ankunft arrivé reçu recevoir llegado llegar recibido recibir arrivato ricevuto ricevere chegou receber recebido \
     aangekomen ontvangen",
    "tracking track traced where sendungsverfolgung verfolgen suivi suivre seguimiento rastrear rastreamento \
     tracciamento volgen",
    "return returns returning returned exchange swap rückgabe umtausch zurückgeben zurücksenden umtauschen retour \
     retourner échange échanger devolución devolver cambio reso restituzione cambio devolução devolver troca retourneren \
     ruilen",
    "replace replacement replacing ersatz ersetzen austausch remplacement remplacer reemplazo reemplazar sostituzione \
     sostituire substituição substituir vervangen vervanging",
    "warranty guarantee garantie gewährleistung garantía garanzia garantia",
    "repair repaired fix reparatur reparieren réparation réparer reparación reparar riparazione riparare reparação \
     conserto reparatie repareren",
    "product products article item items produkt produkte ware produit produits producto productos prodotto prodotti \
     produto produtos produkt artikel",
    // Asking and wishing.
    "question questions inquiry enquiry inquiries frage fragen anfrage question demande pregunta consulta duda domanda \
     richiesta pergunta dúvida consulta vraag vragen",
    "information info details informationen auskunft renseignement renseignements informations información informes \
     informazione informazioni informação informações informatie inlichtingen",
    "documentation manual guide guides instructions tutorial dokumentation anleitung handbuch documentation mode notice \
     documentación guía instrucciones documentazione guida istruzioni documentação guia instruções handleiding",
    "feature features functionality function capability funktion funktionen funktionalität fonction fonctionnalité \
     fonctionnalités función funciones funcionalidad funzione funzionalità função funcionalidade recurso functie",
    "wish suggestion proposal wunsch vorschlag souhait suggestion deseo sugerencia desiderio \
     suggerimento sugestão voorstel",
    "improve improvement improvements enhancement enhance better verbesserung verbessern amélioration améliorer mejora \
     mejorar miglioramento migliorare melhoria melhorar verbetering verbeteren",
    "complaint complain dissatisfied beschwerde beschweren unzufrieden réclamation plainte plaindre queja reclamación \
     reclamo lamentela reclamação queixa klacht klagen",
    "feedback opinion review rückmeldung bewertung avis retour comentario comentarios opinión opinione recensione \
     comentário opinião beoordeling",
    "training course workshop schulung kurs lehrgang formation cours formación curso formazione corso formação \
     treinamento opleiding cursus",
    "marketing campaign advertising brand kampagne werbung marke campagne publicité marque campaña publicidad marca \
     campagna pubblicità marchio campanha publicidade merk reclame",
    "strategy planning growth strategie planung wachstum stratégie croissance estrategia crecimiento strategia crescita \
     estratégia crescimento groei",
    "report reports reporting dashboard statistics bericht berichte auswertung rapport rapports informe informes \
     rapporto resoconto relatório relatórios rapportage",
    "analytics analysis analyse auswertung datenanalyse análisis analisi análise",
    // People and time.
    "employee employees staff personnel mitarbeiter angestellter personal employé employés salarié empleado empleados \
     dipendente dipendenti personale funcionário funcionários medewerker medewerkers personeel",
    "recruitment hiring hire onboarding joiner starter einstellung bewerbung recrutement embauche contratación \
     reclutamiento assunzione recrutamento contratação werving sollicitatie",
    "vacation leave holiday holidays absence urlaub abwesenheit congé congés vacances vacaciones permiso ausencia ferie \
     assenza férias ausência verlof vakantie",
    "salary payroll wage wages gehalt lohn salaire paie salario nómina sueldo stipendio salário ordenado salaris loon",
    "contract contracts agreement vertrag verträge contrat contrats contrato contratos contratto contract overeenkomst",
    "privacy gdpr compliance regulation datenschutz dsgvo rgpd confidentialité conformité privacidad cumplimiento \
     conformità privacidade conformidade avg naleving",
    "healthcare medical hospital patient clinic medizinisch medizinische krankenhaus klinik patienten médical hôpital \
     santé médico hospital salud sanidad medico ospedale saúde médica ziekenhuis medisch",
    // Doing.
    "cancel cancelled canceled cancellation undo revert reverted reverse stop abort kündigen kündigung stornieren \
     stornierung abbrechen annuler annulation résilier résiliation cancelar cancelación anular annullare annullamento \
     disdetta cancelamento opzeggen opzegging annuleren",
    "delete remove removed deleted erase close terminate deactivate löschen entfernen gelöscht schließen supprimer \
     effacer fermer eliminar borrar cerrar cancellare rimuovere chiudere excluir apagar remover encerrar verwijderen \
     sluiten wissen",
    "change changed edit modify alter switch ändern änderung wechseln bearbeiten changer modifier modification cambiar \
     modificar cambiare modificare mudar alterar alteração wijzigen veranderen",
    "add adding added hinzufügen ajouter añadir agregar aggiungere adicionar toevoegen",
    "additional extra another spare second zusätzlich weitere supplémentaire adicional aggiuntivo",
    "new neu neue neuer nouveau nouvelle nuevo nueva nuovo nuova novo nova nieuw nieuwe",
    "create creation open erstellen anlegen créer création crear creación creare creazione criar criação aanmaken",
    "activate activation enable activated turn aktivieren aktivierung freischalten activer activation activar activación \
     attivare attivazione ativar ativação activeren",
    "transfer transferred send sent sending wire überweisung überweisen gesendet senden virement transférer envoyer \
     transferencia transferir enviar bonifico trasferimento inviare transferência enviado overschrijving overmaken \
     verzenden",
    "withdraw withdrawal withdrew abheben abhebung retrait retirer retiro retirar prelievo prelevare saque levantamento \
     opname opnemen",
    "pending waiting wait processing outstanding ausstehend wartet bearbeitung attente pendiente espera attesa sospeso \
     pendente aguardando wachten behandeling",
    "unknown unrecognised unrecognized recognise recognize recognised recognized unfamiliar strange unbekannt inconnu \
     reconnu desconocido reconozco sconosciuto riconosco desconhecido reconheço onbekend herken",
    "limit limits maximum max allowance grenze limite máximo límite massimo limiet",
    "country countries abroad overseas foreign travel travelling international europe land länder ausland reise pays \
     étranger voyage país países extranjero viaje paese paesi estero viaggio exterior viagem landen buitenland reis",
    "expire expired expires expiry expiration abgelaufen ablaufen expiré expiration caducado vencido vencimiento \
     scaduto scadenza expirado vencimento verlopen",
    "move relocate relocation moving umzug umziehen déménagement déménager mudanza trasloco trasferirsi mudança verhuizing",
    "meeting room conference besprechung besprechungsraum réunion salle reunión sala riunione reunião vergadering",
    "support helpdesk assistance unterstützung kundendienst assistance soporte asistencia assistenza suporte \
     ondersteuning",
    "problem problems issue issues trouble difficulty difficulties probleme schwierigkeiten problème problèmes \
     difficultés problema problemas dificultades problemi difficoltà dificuldades probleem problemen",
];
