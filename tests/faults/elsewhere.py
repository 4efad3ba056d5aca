"""Tests of the other rooms that provoke a fault too: ``faults_of``, by file and name."""

from __future__ import annotations

ELSEWHERE: dict[str, dict[str, tuple[str, ...]]] = {
    "commands/test_experiments.py": {
        "C3": ("test_a_sweep_and_single_runs_share_their_folders",),
        "C4": ("test_ctrl_c_ends_with_130_and_the_same_command_resumes",),
        "C5": ("test_a_sweep_lists_its_failures_and_the_second_one_is_cached",),
        "C24": ("test_failures_are_one_line_and_a_code",),
    },
    "experiment/test_run.py": {
        "C1": ("test_kill_9_at_some_writes_changes_nothing",),
        "C4": ("test_a_polite_stop_saves_and_resumes",),
        "C8": ("test_a_folder_in_use_is_refused_and_its_status_kept",),
        "C9": (
            "test_the_folder_of_another_configuration_is_refused",
            "test_changed_data_are_refused",
        ),
        "C17": ("test_a_hostile_state_file_runs_nothing",),
        "C20": ("test_another_model_beside_a_checkpoint_is_refused",),
        "C24": ("test_failures_are_written_to_the_status",),
    },
    "experiment/test_run_folder.py": {
        "C1": (
            "test_a_killed_process_ends_all_and_the_run_resumes",
            "test_a_stop_that_one_process_is_asked_for_stops_both",
        ),
        "C30": ("test_a_pipeline_has_the_rows_and_masks_of_one_process",),
    },
    "experiment/test_results.py": {
        "C29": (
            "test_a_failed_write_leaves_the_rows_of_before",
            "test_tables_have_the_same_bytes_again",
        ),
    },
    "test_files.py": {
        "C6": ("test_too_little_space_is_said_before_work",),
        "C8": (
            "test_lock_names_its_living_owner",
            "test_a_stale_lock_is_taken_over_by_one_process_only",
            "test_the_lock_of_a_process_whose_number_another_has_is_stale",
            "test_whoever_lost_a_lock_leaves_that_of_its_heir",
            "test_a_suspended_process_of_this_machine_keeps_its_lock",
        ),
    },
    "test_interrupts.py": {
        "C4": ("test_the_first_signal_only_asks", "test_the_second_signal_ends_at_once"),
    },
    "test_odd_names.py": {"C27": ("test_names_that_are_not_utf8_go_all_the_way",)},
    "steps/test_shared_training.py": {
        "C2": (
            "test_a_killed_training_goes_on_in_another_run",
            "test_a_run_killed_behind_its_training_takes_it_from_there",
        ),
    },
    "steps/test_lottery.py": {"C2": ("test_a_killed_lottery_ends_in_the_same_bits",)},
    "steps/test_prune.py": {"C2": ("test_an_interrupted_analysis_does_no_tensor_twice",)},
    "steps/quantize/test_choose.py": {"C2": ("test_an_interrupted_choice_goes_on",)},
    "training/test_loop.py": {
        "C2": ("test_interrupted_training_ends_in_the_same_bits",),
        "C24": ("test_non_finite_loss_stops_and_keeps_finite_weights",),
    },
    "training/test_loaders.py": {"C28": ("test_a_killed_worker_is_one_line",)},
    "metrics/test_scorer.py": {
        "C25": ("test_failed_items_have_reasons_and_lower_the_count",),
        "C26": ("test_damaged_cache_lines_are_ignored",),
        "C28": ("test_dead_processes_are_reported_and_replaced",),
    },
    "metrics/test_speech.py": {
        "C14": ("test_short_signals",),
        "C25": (
            "test_every_metric_refuses_bad_signals",
            "test_short_signals",
            "test_nan_trap_of_stoi",
            "test_whatever_a_library_raises_is_a_reason",
        ),
    },
    "metrics/test_score_cache.py": {"C26": ("test_two_processes_share_a_cache",)},
    "data/files/test_generated_folder.py": {
        "C26": (
            "test_a_damaged_folder_is_made_again",
            "test_an_interruption_leaves_nothing_behind",
            "test_the_slower_of_two_processes_keeps_the_work_of_the_faster",
        ),
    },
    "data/scenes/test_features.py": {
        "C26": (
            "test_damaged_features_are_computed_again",
            "test_several_processes_share_a_folder",
        ),
    },
    "data/coded/test_cache.py": {
        "C26": ("test_damaged_files_are_made_again", "test_two_processes_may_fill_it_at_once"),
    },
    "data/files/test_checks.py": {
        "C10": ("test_errors_are_named",),
        "C11": ("test_errors_are_named", "test_warnings_are_named"),
        "C12": ("test_warnings_are_named",),
        "C13": ("test_antiphase_is_also_silent_as_mono", "test_rate_and_length_depend_on_the_use"),
    },
    "data/files/test_headers.py": {
        "C10": (
            "test_wav_data_is_compared_with_the_file",
            "test_a_file_is_whole_until_a_byte_is_gone",
        ),
    },
    "data/files/test_audio.py": {
        "C10": ("test_says_in_one_line_why_a_file_cannot_be_read",),
        "C13": ("test_store_mixes_down_and_resamples", "test_reads_formats_whole_and_in_part"),
    },
    "data/speech/test_noisy_mixtures.py": {
        "C10": ("test_bad_files_stop_or_are_skipped_and_listed",),
        "C12": ("test_silent_and_short_files_are_left_out_and_counted",),
        "C13": ("test_other_rates_and_channels_are_converted_with_one_note",),
        "C14": ("test_silent_and_short_files_are_left_out_and_counted",),
        "C16": ("test_the_same_audio_in_training_and_test_is_refused",),
        "C21": ("test_wrong_options_are_refused_before_any_work",),
        "C27": ("test_symlinked_relative_and_slashed_roots",),
    },
    "data/coded/test_vctk.py": {
        "C15": (
            "test_too_low_a_path_is_told_the_root",
            "test_too_high_a_path_is_told_the_root",
            "test_what_is_not_there",
        ),
    },
    "data/scenes/test_lists.py": {
        "C16": (
            "test_recordings_in_test_and_training_are_named",
            "test_a_test_class_unknown_in_training_is_refused",
        ),
    },
    "data/files/test_lists.py": {
        "C16": ("test_a_table_reads_alike_however_it_was_saved", "test_what_is_no_list_is_told"),
    },
    "experiment/test_model_io.py": {
        "C17": (
            "test_hostile_pickles_run_nothing",
            "test_a_file_names_no_code_outside_the_package",
            "test_a_file_names_no_task_outside_the_package",
        ),
        "C20": ("test_a_checkpoint_of_another_model_is_refused",),
    },
    "packing/test_container.py": {
        "C18": (
            "test_every_flipped_bit_of_the_header_and_400_others",
            "test_truncation",
            "test_swapped_records",
            "test_newer_version",
        ),
        "C19": ("test_hostile_headers", "test_hostile_header_texts", "test_lying_header_length"),
    },
    "test_ranges.py": {"C21": ("test_what_a_key_accepts",)},
    "test_cli.py": {"C22": ("test_wrong_usage_ends_with_code_2_and_one_line",)},
    "commands/test_messages.py": {
        "C22": ("test_an_unknown_option_is_answered_by_the_closest",),
        "C28": ("test_memory_that_ran_out_is_one_line",),
    },
    "compress/test_select.py": {"C23": ("test_edges_of_sparsity", "test_until_freed_edges")},
}
"""By file below tests/, by fault."""


def faults_of(file: str, name: str) -> list[str]:
    """Return the faults that a test provokes.

    Args:
        file: Path below tests/, with slashes.
        name: Of the function.
    """
    own = ELSEWHERE.get(file, {})
    return [fault for fault, names in own.items() if name in names]
